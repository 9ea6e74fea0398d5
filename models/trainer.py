"""TFX's entry into training: read, encode, train, fill the shelf, save.

Given to the Trainer by dotted path; `module_file` would build a wheel for every component.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from pydantic import BaseModel, ConfigDict
from tfx.components.trainer.fn_args_utils import FnArgs

from models import features
from models.adaptation import EvidenceWeights, learn_adaptation
from models.clock import ShopClock
from models.curves import by_first_interactions, by_labelled_share, without_encoder
from models.devices import make_strategy, set_precision
from models.encoder import TextEncoder
from models.encoder_folder import EncoderFolder, open_encoder
from models.finetuning import finetune
from models.interactions import Interactions, Purchases, Users, read_interactions
from models.item_table import ItemTable, read_item_table, read_popularity
from models.kernel import ItemView, KernelSettings
from models.options import (
    CATALOGUE_FILES,
    CATALOGUE_GRAPH_PATH,
    OPTIONS,
    SPLIT_FILES,
    EncoderOptions,
    FeatureOptions,
    FineTuningOptions,
    ModelOptions,
    TrainingOptions,
)
from models.quality import Ratings, item_quality, quality_as_new
from models.record import TrainingRecord, TrainingRecorder
from models.selection import START, select_kernel
from models.served import ServedModel
from models.shelf import Shelf, fill_shelf
from models.simulation import SimulatedLaunch, launches
from models.tokenizer import WordPieceTokenizer
from models.towers import item_features
from models.training import AlignedLaunch, Inputs, Trainer
from models.two_tower import TwoTower
from models.variants import variant_groups

_ENCODE_BATCH = 64
# Of the simulated launches, those on which the kernel is chosen: it has few settings.
_SELECTION_FOLDS = 2


class TrainerOptions(BaseModel):
    """The sections of the configuration that training depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderOptions
    encoder_fingerprint: str  # not read: TFX's cache sees by it that the encoder's files changed
    features: FeatureOptions
    model: ModelOptions
    finetuning: FineTuningOptions
    training: TrainingOptions
    history_length: int


@dataclass(frozen=True)
class ShopData:
    """What the pipeline hands to training.

    Attributes:
        table: the catalogue.
        splits: interactions by split.
        users: ids and profiles.
        train: interactions of the train split.
        everything: those of all splits.
    """

    table: ItemTable
    splits: dict[str, Interactions]
    users: Users
    train: Ratings
    everything: Ratings

    @classmethod
    def read(cls, arguments: FnArgs, history_length: int) -> ShopData:
        """Read the Examples and vocabularies that TFX and `components.trainer` name."""
        given: dict[str, Any] = arguments.custom_config
        graph = tft.TFTransformOutput(given[CATALOGUE_GRAPH_PATH])
        popularity = read_popularity(tft.TFTransformOutput(arguments.transform_graph_path))
        table = read_item_table(given[CATALOGUE_FILES], graph, popularity)
        splits, users = read_interactions(given[SPLIT_FILES], table.ids, history_length)
        sizes = {"users": len(users), "items": len(table)}
        return cls(
            table=table,
            splits=splits,
            users=users,
            train=Ratings.of([splits[features.TRAIN]], **sizes),
            everything=Ratings.of(list(splits.values()), **sizes),
        )


@dataclass(frozen=True)
class Encoders:
    """The text encoders of both towers, which may be one, and their tokenizer."""

    folder: EncoderFolder
    tokenizer: WordPieceTokenizer
    item: TextEncoder
    profile: TextEncoder

    @classmethod
    def load(cls, options: EncoderOptions) -> Encoders:
        """Load what the configuration names."""
        folder = open_encoder(options.name)
        item = TextEncoder(folder, trainable_layers=options.trainable_layers)
        profile = item if options.shared else TextEncoder(folder)
        return cls(folder, WordPieceTokenizer(folder), item, profile)


def run_fn(arguments: FnArgs) -> None:
    """Train on the Examples and write the served model and a record of the training.

    Args:
        arguments: TFX's; `custom_config` also holds what `components.trainer` adds.
    """
    options = TrainerOptions.model_validate(arguments.custom_config[OPTIONS])
    tf_keras.utils.set_random_seed(options.training.seed)
    data = ShopData.read(arguments, options.history_length)
    recorder = TrainingRecorder(Path(arguments.model_run_dir))
    purchases = data.train.purchases()
    groups = variant_groups(data.splits[features.TRAIN], data.table.lexical)
    folds, validation = launches(
        purchases,
        data.table.ids,
        groups,
        folds=options.training.folds,
        max_anchors=options.model.max_anchors,
        regularization=options.model.teacher_regularization,
    )
    set_precision(options.training.precision)
    strategy = make_strategy(options.training.strategy)
    with strategy.scope():
        encoders = Encoders.load(options.encoder)
    views = {}
    fine_tuned = None
    if options.encoder.trainable_layers and len(validation.users):
        views["before fine-tuning"] = data.table.view(encode(encoders.item, data.table.tokens))
        fine_tuned = finetune(
            encoders.item, data.table.tokens, purchases, validation,
            encode=encode, options=options.finetuning, seed=options.training.seed,
            strategy=strategy,
        )  # fmt: skip
    text = encode(encoders.item, data.table.tokens)
    view = data.table.view(text)
    views |= {"words alone": without_encoder(view), "with encoder": view}
    settings = select_kernel(view, folds[:_SELECTION_FOLDS], recorder.kernel)
    inputs = _inputs(data, text, encoders, view, settings, folds, options)
    model = TwoTower(
        inputs.features,
        size=options.model.embedding_size,
        price_buckets=options.features.price_buckets,
        profile_size=encoders.folder.hidden_size,
        mean_rating=float(inputs.interactions.rating.mean()),
    )
    aligned = [AlignedLaunch.align(fold, view, settings) for fold in folds]
    outcome = Trainer(model, inputs, options.training).run(aligned, recorder.step)
    clock = ShopClock.of(np.concatenate([part.timestamp for part in data.splits.values()]))
    weights = learn_adaptation(
        aligned, inputs.interactions, clock, anchors_per_item=options.model.anchors_per_item
    )
    launched = AlignedLaunch.align(validation, view, settings)
    recorder.finish(
        TrainingRecord(
            before=AlignedLaunch.align(validation, view, START).quality() | outcome.before,
            after=launched.quality() | outcome.after,
            kept_step=outcome.step,
            curve=recorder.curve,
            fine_tuned=fine_tuned,
            kernel=settings._asdict(),
            items=len(data.table),
            users=len(data.users),
            interactions=len(inputs.interactions),
            implicit=inputs.interactions.is_implicit,
            parameters=int(sum(np.prod(v.shape) for v in model.trainable_variables)),
            first_interactions=by_first_interactions(
                launched,
                inputs.interactions,
                clock,
                weights,
                anchors_per_item=options.model.anchors_per_item,
            ),
            labelled_share=by_labelled_share(
                data.train,
                validation,
                views,
                settings,
                regularization=options.model.teacher_regularization,
            ),
        )
    )
    _save(
        arguments.serving_model_dir, data, encoders, inputs, model, options, view, settings,
        clock, weights,
        catalogue_graph=tft.TFTransformOutput(arguments.custom_config[CATALOGUE_GRAPH_PATH]),
    )  # fmt: skip


def _inputs(
    data: ShopData,
    text: npt.NDArray[np.float32],
    encoders: Encoders,
    view: ItemView,
    settings: KernelSettings,
    folds: list[SimulatedLaunch],
    options: TrainerOptions,
) -> Inputs:
    anchors = options.model.max_anchors
    targets = [fold.targets for fold in folds]
    return Inputs(
        features=item_features(tf.constant(text), tf.constant(data.table.lexical)).numpy(),
        price_bucket=data.table.price_bucket,
        quality=item_quality(data.train, view, settings, max_anchors=anchors),
        quality_as_new=quality_as_new(data.train, targets, view, settings, max_anchors=anchors),
        profiles=encode_profiles(
            encoders.profile, encoders.tokenizer, data.users, options.features.max_tokens
        ),
        interactions=data.splits[features.TRAIN],
        later=data.splits[features.EVAL],
        negatives=np.flatnonzero(~data.table.is_cold),
    )


def _save(
    folder: str,
    data: ShopData,
    encoders: Encoders,
    inputs: Inputs,
    model: TwoTower,
    options: TrainerOptions,
    view: ItemView,
    settings: KernelSettings,
    clock: ShopClock,
    weights: EvidenceWeights,
    *,
    catalogue_graph: tft.TFTransformOutput,
) -> None:
    """Fill the shelf with the whole catalogue, new products included, and export."""
    columns = fill_shelf(
        model, data.table, inputs.features, view, settings,
        train=data.train, everything=data.everything,
        purchases=Purchases.of(list(data.splits.values()), len(data.users)),
        clock=clock, user_text=inputs.profiles, options=options.model,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        shelf = Shelf(
            columns,
            user_ids=_write_ids(Path(scratch) / "users.txt", data.users.ids),
        )
        served = ServedModel(
            tokenizer=encoders.tokenizer,
            item_encoder=encoders.item,
            profile_encoder=encoders.profile,
            model=model,
            shelf=shelf,
            evidence=weights,
            catalogue_graph=catalogue_graph,
            implicit=inputs.interactions.is_implicit,
            max_tokens=options.features.max_tokens,
        )
        tf.saved_model.save(served, folder, signatures=served.signatures())


def encode(encoder: TextEncoder, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Encode padded tokens [N, T] to float32 [N, hidden], shortest first to save padding."""
    if not len(tokens):
        return np.zeros((0, encoder.hidden_size), np.float32)
    order = np.argsort((tokens != encoder.pad_id).sum(axis=1), kind="stable")
    parts = [
        encoder.infer(tf.constant(tokens[order[start : start + _ENCODE_BATCH]])).numpy()
        for start in range(0, len(tokens), _ENCODE_BATCH)
    ]
    encoded = np.empty((len(tokens), parts[0].shape[1]), np.float32)
    encoded[order] = np.concatenate(parts)
    return encoded


def encode_profiles(
    encoder: TextEncoder, tokenizer: WordPieceTokenizer, users: Users, max_tokens: int
) -> npt.NDArray[np.float32]:
    """Encode each distinct profile once: float32 [U, hidden], zeros for an empty one."""
    texts, place = np.unique(users.profiles, return_inverse=True)
    pieces = tokenizer.pieces(tf.constant(list(texts)))
    tokens = tokenizer.encoder_input(pieces, max_tokens).numpy().astype(np.int32)
    encoded = encode(encoder, tokens)
    encoded[texts == b""] = 0.0
    return encoded[place]


def _write_ids(file: Path, ids: npt.NDArray[np.object_]) -> Path:
    file.write_bytes(b"".join(item + b"\n" for item in ids))
    return file
