"""A shop of 60 products in six themes and 40 customers who each like one theme.

The last product of each theme is new, the one before it is held out: it has interactions, but
none in the train split.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata.dataset_metadata import DatasetMetadata

import pipeline
from pipeline.beam_profiles import PROFILES

THEMES = ("christmas star", "tea cup", "garden light", "retro bag", "alarm clock", "rabbit lamp")
_KINDS = (
    "red glass", "small wood", "vintage metal", "large paper", "green ceramic", "set of pink",
    "cream cotton", "black sign", "gold hanging", "party kit",
)  # fmt: skip
PER_THEME = len(_KINDS)
SIZE = len(THEMES) * PER_THEME
NUM_USERS = 40
OPTIONS = {"max_tokens": 24, "lexical_tokens": 32, "lexical_size": 24, "price_buckets": 4}
_SCHEMAS = Path(pipeline.__file__).parent / "schema"


def item_id(row: int) -> bytes:
    return b"item-%03d" % row


def user_id(row: int) -> bytes:
    return b"user-%03d" % row


@dataclass(frozen=True)
class Shop:
    """What the shop knows, by number of item and of user.

    Attributes:
        items: catalogue rows as ingestion emits them.
        user, item: N interactions of the train split.
        rating: float32 [N], a user's level plus noise.
        is_new: bool [SIZE].
        is_cold: bool [SIZE].
        held_out: (user, item) of the interactions that are not in the train split.
        profiles: text of each user, half of them empty.
    """

    items: list[dict[str, object]]
    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    rating: npt.NDArray[np.float32]
    is_new: npt.NDArray[np.bool_]
    is_cold: npt.NDArray[np.bool_]
    held_out: list[tuple[int, int]]
    profiles: list[bytes]


def make_shop(seed: int = 0) -> Shop:
    random = np.random.default_rng(seed)
    place = np.arange(SIZE) % PER_THEME
    is_new, is_cold = place == PER_THEME - 1, place >= PER_THEME - 2
    pairs = []
    for customer in range(NUM_USERS):
        theme = customer % len(THEMES)
        own = np.flatnonzero((np.arange(SIZE) // PER_THEME == theme) & ~is_cold)
        other = np.flatnonzero(~is_cold)
        chosen = np.union1d(random.choice(own, 5, replace=False), random.choice(other, 2))
        pairs += [(customer, bought) for bought in random.permutation(chosen)]
    user, item = np.array(pairs, np.int32).T
    level = random.uniform(0.3, 0.9, NUM_USERS)
    rating = np.clip(level[user] + random.normal(scale=0.05, size=len(user)), 0, 1)
    counts = np.bincount(item, minlength=SIZE) + (is_cold & ~is_new)
    items = [
        {
            "item_id": [item_id(row)],
            "title": [f"{_KINDS[row % PER_THEME]} {THEMES[row // PER_THEME]}".encode()],
            "category": [THEMES[row // PER_THEME].split()[1].encode() if row % 2 else b""],
            "brand": [b"acme" if row % 3 == 0 else b""],
            "description": [b"for the home." if row % 4 == 0 else b""],
            "price": [] if row % 7 == 0 else [float(random.uniform(1, 20))],
            "available": [1],
            "interactions": [int(counts[row])],
        }
        for row in range(SIZE)
    ]
    held_out = [(int(row) // PER_THEME, int(row)) for row in np.flatnonzero(is_cold & ~is_new)]
    profiles = [b"" if row % 2 else b"age: %d. occupation: student." % row for row in range(40)]
    return Shop(items, user, item, rating.astype(np.float32), is_new, is_cold, held_out, profiles)


def transform(
    rows, preprocess, *, schema: str, folder: Path
) -> tuple[tft.TFTransformOutput, list[str]]:
    """Run Transform over rows, as TFX does; its output and the TFRecord files it wrote."""
    proto = text_format.Parse((_SCHEMAS / f"{schema}.pbtxt").read_text(), schema_pb2.Schema())
    options = beam.options.pipeline_options.PipelineOptions(list(PROFILES["direct"]))
    with (
        beam.Pipeline(options=options) as run,
        tft_beam.Context(temp_dir=str(folder / "scratch")),
    ):
        raw = (run | beam.Create(rows), DatasetMetadata(proto))
        (data, metadata), function = raw | tft_beam.AnalyzeAndTransformDataset(preprocess)
        _ = function | tft_beam.WriteTransformFn(str(folder / "graph"))
        _ = (
            data
            | beam.Map(tft.coders.ExampleProtoCoder(metadata.schema).encode)
            | beam.io.WriteToTFRecord(str(folder / "data"), file_name_suffix=".gz")
        )
    files = tf.io.gfile.glob(str(folder / "data*.gz"))
    return tft.TFTransformOutput(str(folder / "graph")), files


def interaction(user: bytes, item: bytes, *, rating=1.0, time=0, history=(), ratings=None,
                profile=b"", propensity=None):  # fmt: skip
    """A serialized interaction, in the form that ingestion emits; an older Debut's by default."""
    made = tf.train.Example()
    feature = made.features.feature
    feature["user_id"].bytes_list.value.append(user)
    feature["item_id"].bytes_list.value.append(item)
    feature["rating"].float_list.value.append(rating)
    feature["timestamp"].int64_list.value.append(time)
    feature["profile"].bytes_list.value.append(profile)
    if propensity is not None:
        feature["propensity"].float_list.value.extend(propensity)
    feature["history"].bytes_list.value.extend(history)
    given = [1.0] * len(history) if ratings is None else ratings
    feature["history_rating"].float_list.value.extend(given)
    return made.SerializeToString()
