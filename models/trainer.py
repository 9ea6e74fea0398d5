"""TFX's entry into training: read, encode, train, fill the shelf, save.

Given to the Trainer by dotted path; `module_file` would build a wheel for every component.
"""

from __future__ import annotations

import tempfile
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
from models.devices import make_strategy, set_precision
from models.encoder import TextEncoder
from models.encoder_folder import EncoderFolder, open_encoder
from models.finetuning import finetune
from models.interactions import Users, latest_items, read_interactions
from models.item_table import read_item_table, read_popularity
from models.options import (
    EncoderOptions,
    FeatureOptions,
    FineTuningOptions,
    ModelOptions,
    TrainingOptions,
)
from models.record import TrainingRecord, TrainingRecorder
from models.served import ServedModel
from models.shelf import Shelf, fill_shelf
from models.simulation import SimulatedLaunch, launches, most_popular, purchase_matrix
from models.tokenizer import WordPieceTokenizer
from models.towers import item_features
from models.training import Inputs, Trainer
from models.two_tower import TwoTower

_ENCODE_BATCH = 64


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


def run_fn(arguments: FnArgs) -> None:
    """Train on the Examples and write the served model and a record of the training.

    Args:
        arguments: TFX's; `custom_config` also holds what `components.trainer` adds.
    """
    given: dict[str, Any] = arguments.custom_config
    options = TrainerOptions.model_validate(given["options"])
    tf_keras.utils.set_random_seed(options.training.seed)
    catalogue_graph = tft.TFTransformOutput(given["catalogue_graph_path"])
    popularity = read_popularity(tft.TFTransformOutput(arguments.transform_graph_path))
    table = read_item_table(given["catalogue_files"], catalogue_graph, popularity)
    splits, users = read_interactions(given["split_files"], table.ids, options.history_length)
    recorder = TrainingRecorder(Path(arguments.model_run_dir))

    purchases = purchase_matrix(
        splits[features.TRAIN].user, splits[features.TRAIN].item, (len(users), len(table))
    )
    folds, validation = launches(
        purchases,
        table.ids,
        folds=options.training.folds,
        max_anchors=options.model.max_anchors,
        regularization=options.model.teacher_regularization,
    )

    set_precision(options.training.precision)
    strategy = make_strategy(options.training.strategy)
    folder = open_encoder(options.encoder.name)
    with strategy.scope():
        item_encoder = TextEncoder(folder, trainable_layers=options.encoder.trainable_layers)
        profile_encoder = item_encoder if options.encoder.shared else TextEncoder(folder)
    fine_tuned = None
    if options.encoder.trainable_layers and len(validation.users):
        fine_tuned = finetune(
            item_encoder, table.tokens, purchases, validation,
            encode=encode, options=options.finetuning, seed=options.training.seed,
            strategy=strategy,
        )  # fmt: skip
    text = encode(item_encoder, table.tokens)
    inputs = Inputs(
        features=item_features(tf.constant(text), tf.constant(table.lexical)).numpy(),
        price_bucket=table.price_bucket,
        profiles=encode_profiles(profile_encoder, folder, users, options.features.max_tokens),
        interactions=splits[features.TRAIN],
        later=splits[features.EVAL],
        negatives=np.flatnonzero(~table.is_cold),
    )
    model = TwoTower(
        inputs.features,
        size=options.model.embedding_size,
        price_buckets=options.features.price_buckets,
        profile_size=folder.hidden_size,
        mean_rating=float(inputs.interactions.rating.mean()),
    )
    outcome = Trainer(model, inputs, options.training).run(folds, validation, recorder.step)
    recorder.finish(
        TrainingRecord(
            before=outcome.before,
            after=outcome.after,
            kept_step=outcome.step,
            curve=recorder.curve,
            fine_tuned=fine_tuned,
            items=len(table),
            users=len(users),
            interactions=len(inputs.interactions),
            implicit=inputs.interactions.is_implicit,
            parameters=int(sum(np.prod(v.shape) for v in model.trainable_variables)),
        )
    )
    known = SimulatedLaunch.hide(
        purchases,
        targets=np.zeros(0, np.int64),
        anchors=most_popular(table.popularity, ~table.is_cold, options.model.max_anchors),
        regularization=options.model.teacher_regularization,
    )
    history, ratings = latest_items(list(splits.values()), len(users), options.model.served_history)
    data = fill_shelf(
        model, table, inputs.features, known,
        user_history=history, user_rating=ratings, user_text=inputs.profiles,
        purchases=purchase_matrix(
            np.concatenate([part.user for part in splits.values()]),
            np.concatenate([part.item for part in splits.values()]),
            (len(users), len(table)),
        ),
        options=options.model,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        shelf = Shelf(
            data,
            item_ids=_write_ids(Path(scratch) / "items.txt", table.ids),
            user_ids=_write_ids(Path(scratch) / "users.txt", users.ids),
        )
        served = ServedModel(
            folder=folder,
            item_encoder=item_encoder,
            profile_encoder=profile_encoder,
            model=model,
            shelf=shelf,
            catalogue_graph=catalogue_graph,
            implicit=inputs.interactions.is_implicit,
            max_tokens=options.features.max_tokens,
        )
        tf.saved_model.save(served, arguments.serving_model_dir, signatures=served.signatures())


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
    encoder: TextEncoder, folder: EncoderFolder, users: Users, max_tokens: int
) -> npt.NDArray[np.float32]:
    """Encode each distinct profile once: float32 [U, hidden], zeros for an empty one."""
    texts, place = np.unique(users.profiles, return_inverse=True)
    tokenizer = WordPieceTokenizer(folder)
    pieces = tokenizer.pieces(tf.constant(list(texts)))
    tokens = tokenizer.encoder_input(pieces, max_tokens).numpy().astype(np.int32)
    encoded = encode(encoder, tokens)
    encoded[texts == b""] = 0.0
    return encoded[place]


def _write_ids(file: Path, ids: npt.NDArray[np.object_]) -> Path:
    file.write_bytes(b"".join(item + b"\n" for item in ids))
    return file
