"""Speed of training: against plain fine-tuning of the same encoder, and the machine's own limit.

The figures of one run are compared with one another; those of two machines can't be.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

if not __package__:
    # Run as a file. Python then looks for modules beside it first, and `serving` is one of them.
    sys.path[0] = str(Path(__file__).parents[1])

import click
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from benchmarks.cold_split import ColdStart, make_split, read_split
from benchmarks.references import catalogue_tokens, tokenize
from models.arrays import Floats
from models.devices.precision import set_precision
from models.encoders.encoder import TextEncoder
from models.encoders.folder import EncoderFolder, open_encoder
from models.encoders.reading import encode
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.simulation import launches
from models.interactions import PAD, Interactions, Profiles
from models.towers import item_features
from models.training import Inputs, Trainer
from models.two_tower import TwoTower
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import Configuration, load_configuration
from pipeline.layout import SAMPLE

# The plain loop, as fine-tuning tutorials have it.
_BATCH: Final = 16
_TOKENS: Final = 128
_PLAIN_STEPS: Final = 3
_PLAIN_LEARNING_RATE: Final = 2e-5

_STEPS: Final = 50  # of Debut's, timed
_ROUNDS: Final = 5
_SIDE: Final = 2048  # of the matrices whose product is timed
_SEED: Final = 7


@click.command(
    epilog="""\b
Example:
  python -m benchmarks training""",
)
@click.option("--data", type=PATH, default=SAMPLE, help="Whose texts and interactions.")
def training(data: Path) -> None:
    """Measure how fast training goes through examples, and how busy it keeps the machine."""
    console = open_console()
    config = load_configuration()
    set_precision(config.training.precision)
    with tempfile.TemporaryDirectory() as scratch:
        make_split(data, Path(scratch) / "split", seed=_SEED)
        shop = read_split(Path(scratch) / "split")
    folder = open_encoder(config.encoder.name)
    tokens = catalogue_tokens(shop, folder)
    encoder = TextEncoder(folder)
    with console.status("The encoder and the matrix product"):
        product, passes = _encoder_and_limit(encoder, tokens)
    with console.status("Debut's training"):
        step = debut_step_seconds(shop, encode(encoder, tokens), config)
    with console.status("Plain fine-tuning"):
        plain = _BATCH / plain_step_seconds(shop, folder)
    options = config.training
    a_step = options.batch_ratings + options.batch_users
    whole = options.steps * step + passes
    debut = options.steps * a_step / whole
    table = new_table("training", "examples/s", "times plain")
    table.add_row(f"plain: cross-encoder, batch {_BATCH}, {_TOKENS} tokens", f"{plain:,.1f}", "1")
    table.add_row(
        f"Debut: {options.steps} steps and encoding {len(tokens):,} items once",
        f"{debut:,.0f}", f"{debut / plain:,.0f}",
    )  # fmt: skip
    table.add_row(
        "Debut: the steps alone", f"{a_step / step:,.0f}", f"{a_step / step / plain:,.0f}"
    )
    print_table(console, "Speed of training, asked for is 30 times plain", table)
    operations = encoder_operations(tokens, encoder)
    kind = tf_keras.mixed_precision.global_policy().compute_dtype
    share = operations / passes / product
    table = new_table(f"{kind}", "billion operations/s", "share")
    table.add_row(f"product of {_SIDE} x {_SIDE} matrices", f"{product / 1e9:,.0f}", "100 %")
    table.add_row(
        "encoder, over the catalogue", f"{operations / passes / 1e9:,.0f}", f"{share:.0%}"
    )
    print_table(console, "The encoder against the machine's limit, asked for is 70 %", table)


def encoder_operations(tokens: npt.NDArray[np.int32], encoder: TextEncoder) -> float:
    """Additions and multiplications in the matrix products of a forward pass.

    Padding is not counted: what is computed for it is waste.

    Args:
        tokens: int32 [N, T], padded.
        encoder: gives the shape.
    """
    config = encoder.bert.config
    hidden, inner = config.hidden_size, config.intermediate_size
    length = (tokens != encoder.pad_id).sum(axis=1).astype(np.float64)
    weights = 4 * hidden * hidden + 2 * hidden * inner  # of a layer's products
    attention = 2 * hidden * length  # of a token with all others: scores, and their sum
    return float(config.num_hidden_layers * (2 * length * (weights + attention)).sum())


def _encoder_and_limit(encoder: TextEncoder, tokens: npt.NDArray[np.int32]) -> tuple[float, float]:
    """Operations per second of a large product, and seconds to encode the catalogue.

    The two take turns, and of each the best counts: what else runs on the machine disturbs both.
    """
    kind = tf_keras.mixed_precision.global_policy().compute_dtype
    one, other = (tf.cast(tf.random.normal([_SIDE, _SIDE], seed=s), kind) for s in (1, 2))
    multiply = tf.function(tf.matmul)
    multiply(one, other)
    encode(encoder, tokens[:_BATCH])
    products, passes = [], []
    for _ in range(_ROUNDS):
        products.append(_seconds(lambda: multiply(one, other).numpy()))
        passes.append(_seconds(lambda: encode(encoder, tokens)))
        products.append(_seconds(lambda: multiply(one, other).numpy()))
    return 2.0 * _SIDE**3 / min(products), min(passes)


def plain_step_seconds(shop: ColdStart, folder: EncoderFolder) -> float:
    """Forward, backward and update of a cross-encoder over "what the user had: item"."""
    encoder = TextEncoder(folder, trainable_layers=-1)
    head = tf_keras.layers.Dense(1)
    optimizer = tf_keras.optimizers.AdamW(_PLAIN_LEARNING_RATE)
    tokens, rating = _pairs(shop, folder)

    def loss() -> tf.Tensor:
        mask = tf.cast(tokens != encoder.pad_id, tf.int32)
        hidden = encoder.bert(input_ids=tokens, attention_mask=mask, training=True)
        predicted = head(tf.cast(hidden.last_hidden_state[:, 0], tf.float32))[:, 0]
        return tf.reduce_mean((predicted - rating) ** 2)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss()
        variables = [*encoder.trainable_variables, *head.trainable_variables]
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return value

    loss()  # makes the head's weights
    optimizer.build([*encoder.trainable_variables, *head.trainable_variables])
    step()
    rounds = [_seconds(lambda: [step() for _ in range(_PLAIN_STEPS)]) for _ in range(_ROUNDS)]
    return min(rounds) / _PLAIN_STEPS


def _pairs(shop: ColdStart, folder: EncoderFolder) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch of "items of the user: item" as int32 [B, 128], and its ratings."""
    chosen = np.random.default_rng(_SEED).choice(len(shop.train.user), _BATCH)
    texts = []
    for row in chosen:
        had = shop.purchases[shop.train.user[row]].indices
        texts.append(f"{'. '.join(shop.texts[i] for i in had)}: {shop.texts[shop.train.item[row]]}")
    tokens = tokenize(texts, folder, _TOKENS)
    return tf.constant(tokens), tf.constant(shop.train.rating[chosen], tf.float32)


def debut_step_seconds(shop: ColdStart, text: Floats, config: Configuration) -> float:
    """A gradient step of Debut's training, sampling included.

    Args:
        shop: whose interactions are sampled.
        text: float32 [I, hidden] of the encoder.
        config: shapes and batch sizes.
    """
    items, users = len(shop.item_ids), len(shop.user_ids)
    # Time does not depend on what stands in the lexical vectors.
    lexical = np.random.default_rng(_SEED).normal(size=(items, config.features.lexical_size))
    lexical /= np.linalg.norm(lexical, axis=1, keepdims=True)
    interactions = _interactions(shop, config.data.history_length)
    inputs = Inputs(
        features=item_features(tf.constant(text), tf.constant(lexical)).numpy(),
        price_bucket=np.zeros(items, np.int32),
        quality=np.zeros(items, np.float32),
        quality_as_new=np.zeros(items, np.float32),
        profiles=Profiles(np.zeros((1, text.shape[1]), np.float32), np.zeros(users, np.int32)),
        interactions=interactions,
        sampled=np.arange(len(interactions)),
        later=_interactions(shop, config.data.history_length, rows=slice(0)),
        is_implicit=interactions.is_implicit,
        negatives=np.flatnonzero(shop.purchases.getnnz(axis=0)),
        drawn=None,
    )
    model = TwoTower(
        inputs.features, size=config.model.embedding_size,
        price_buckets=config.features.price_buckets, profile_size=text.shape[1],
        mean_rating=interactions.mean_rating, mean_target=inputs.mean_target,
        head=config.rating.head,
    )  # fmt: skip
    [launch, *_], _ = launches(
        shop.purchases, np.array([item.encode() for item in shop.item_ids], object),
        np.arange(items, dtype=np.int32), folds=config.training.folds,
        max_anchors=config.model.max_anchors, regularization=config.model.teacher_regularization,
    )  # fmt: skip
    weights = np.zeros((len(launch.anchors), len(launch.targets)), np.float32)
    every = {"steps": 2 * _STEPS, "validate_every": _STEPS, "patience": 2 * _STEPS}
    ended: list[float] = []
    Trainer(model, inputs, config.training.model_copy(update=every)).run(
        [AlignedLaunch(launch, weights)], lambda step, values: ended.append(time.perf_counter())
    )
    # The first half holds the compilation.
    return (ended[2] - ended[1]) / _STEPS


def _interactions(
    shop: ColdStart, history_length: int, *, rows: slice = slice(None)
) -> Interactions:
    """The train split with histories, in the order of the data: [N] and [N, H]."""
    order = np.argsort(shop.train.user, kind="stable")
    user, item = shop.train.user[order], shop.train.item[order]
    rating = shop.train.rating[order].astype(np.float32)
    start = np.searchsorted(user, user)
    # Oldest first, padded at the end: the earliest of the last H stands in the first column.
    place = np.arange(len(user))
    first = np.maximum(place - history_length, start)
    earlier = first[:, np.newaxis] + np.arange(history_length)
    known = earlier < place[:, np.newaxis]
    earlier = np.where(known, earlier, 0)
    return Interactions(
        user=user[rows],
        item=item[rows],
        rating=rating[rows],
        timestamp=place[rows],
        history=np.where(known, item[earlier], PAD).astype(np.int32)[rows],
        history_rating=np.where(known, rating[earlier], 0.0).astype(np.float32)[rows],
        propensity=np.full(len(user), np.nan, np.float32)[rows],
        span=np.zeros(len(user), np.int32)[rows],
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    training()
