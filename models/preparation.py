"""Everything that training does before anything is learned by gradient but the encoder.

Read, encode, optionally fine-tune the encoder, choose the kernel, align the simulated launches. The
Trainer and the Tuner both begin like this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_transform as tft
from absl import logging
from pydantic import BaseModel, ConfigDict
from tfx.components.trainer.fn_args_utils import FnArgs

from models import features
from models.devices import make_strategy, set_precision
from models.encoder import TextEncoder
from models.encoder_folder import EncoderFolder, open_encoder
from models.finetuning import FineTuned, finetune, kernel_recall
from models.interactions import Interactions, Users, read_interactions
from models.item_table import ItemTable, read_item_table, read_popularity
from models.kernel import ItemView, KernelSettings
from models.options import (
    CATALOGUE_FILES,
    CATALOGUE_GRAPH_PATH,
    SPLIT_FILES,
    EncoderOptions,
    FeatureOptions,
    FineTuningOptions,
    ModelOptions,
    PretrainingOptions,
    RatingOptions,
    TrainingOptions,
)
from models.pretraining import pretrain
from models.quality import Ratings, item_quality, quality_as_new
from models.selection import START, Report, select_kernel
from models.self_training import confident_pairs
from models.simulation import SimulatedLaunch, launches
from models.tokenizer import WordPieceTokenizer
from models.towers import item_features
from models.training import AlignedLaunch, Inputs
from models.two_tower import TwoTower
from models.variants import variant_groups

_ENCODE_BATCH = 64
# Of the simulated launches, those on which the kernel is chosen: it has few settings.
SELECTION_FOLDS = 2


class TrainerOptions(BaseModel):
    """The sections of the configuration that training depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: EncoderOptions
    encoder_fingerprint: str  # not read: TFX's cache sees by it that the encoder's files changed
    features: FeatureOptions
    model: ModelOptions
    rating: RatingOptions
    pretraining: PretrainingOptions
    finetuning: FineTuningOptions
    training: TrainingOptions
    history_length: int

    def with_hyperparameters(self, found: dict[str, Any] | None) -> TrainerOptions:
        """These options with what a Tuner found in their place.

        Args:
            found: configuration of a `keras_tuner.HyperParameters`, whose values are named
                `section.option`; None where nothing was tuned.
        """
        values = self.model_dump()
        for name, value in (found or {}).get("values", {}).items():
            section, option = name.split(".")
            values[section][option] = value
        return TrainerOptions.model_validate(values)


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
        """Load what the configuration names, frozen."""
        folder = open_encoder(options.name)
        item = TextEncoder(folder)
        profile = item if options.shared else TextEncoder(folder)
        return cls(folder, WordPieceTokenizer(folder), item, profile)

    def with_item(self, encoder: TextEncoder) -> Encoders:
        """With another encoder of items, and of profiles where they share one."""
        shared = self.profile is self.item
        return replace(self, item=encoder, profile=encoder if shared else self.profile)


@dataclass(frozen=True)
class Encoded:
    """The catalogue as its encoder reads it.

    Attributes:
        encoders: with which.
        text: float32 [I, hidden].
        strategy: under which encoders are built and trained.
        outcome: of fine-tuning, None where there was none.
        before: the text before fine-tuning, None where there was none.
    """

    encoders: Encoders
    text: npt.NDArray[np.float32]
    strategy: tf.distribute.Strategy
    outcome: FineTuned | None = None
    before: npt.NDArray[np.float32] | None = None

    @classmethod
    def frozen(cls, data: ShopData, options: TrainerOptions) -> Encoded:
        """By the encoder as it comes."""
        set_precision(options.training.precision)
        strategy = make_strategy(options.training.strategy)
        with strategy.scope():
            encoders = Encoders.load(options.encoder)
        return cls(encoders, encode(encoders.item, data.table.tokens), strategy)

    def fine_tuned_where_better(
        self, data: ShopData, validation: SimulatedLaunch, options: TrainerOptions
    ) -> Encoded:
        """By a fine-tuned encoder, if new items of the launch are found better with it alone."""
        with self.strategy.scope():
            candidate = TextEncoder(
                self.encoders.folder,
                trainable_layers=options.encoder.trainable_layers,
                adaptation=options.encoder.adaptation,
                adaptation_size=options.encoder.adaptation_size,
            )
        trainable = int(sum(np.prod(v.shape) for v in candidate.trainable_variables))
        logging.info("Fine-tuning %d weights of the encoder", trainable)
        tokens, seed = data.table.tokens, options.training.seed
        pretrain(
            candidate, self.encoders.folder, tokens, options=options.pretraining, seed=seed,
            strategy=self.strategy,
        )  # fmt: skip
        histories = _known_to(validation, data)
        if count := options.finetuning.self_training_pairs:
            view = data.table.view(self.text)
            histories += confident_pairs(validation, view, START, count)
        finetune(
            candidate, tokens, histories, options=options.finetuning, seed=seed,
            strategy=self.strategy,
        )  # fmt: skip
        text = encode(candidate, tokens)
        outcome = FineTuned(
            before=kernel_recall(self.text, validation),
            after=kernel_recall(text, validation),
            trainable=trainable,
        )
        logging.info("Recall of the encoder alone: %s", outcome)
        if not outcome.kept:
            return replace(self, outcome=outcome, before=self.text)
        encoders = self.encoders.with_item(candidate)
        return replace(self, encoders=encoders, text=text, outcome=outcome, before=self.text)


@dataclass(frozen=True)
class Prepared:
    """What the towers are trained on.

    Attributes:
        encoders: frozen from here on.
        view: the catalogue as the kernel sees it.
        settings: of the kernel, as chosen.
        inputs: what training looks rows up in.
        folds: the training launches, aligned.
        validation: the launch that measures what was chosen.
        fine_tuned: None where the encoder was frozen.
        before_fine_tuning: the catalogue as it was then; None likewise.
    """

    encoders: Encoders
    view: ItemView
    settings: KernelSettings
    inputs: Inputs
    folds: list[AlignedLaunch]
    validation: SimulatedLaunch
    fine_tuned: FineTuned | None
    before_fine_tuning: ItemView | None

    @classmethod
    def of(cls, data: ShopData, options: TrainerOptions, report: Report) -> Prepared:
        """Do all that; `report` is told what settings of the kernel are worth."""
        folds, validation = simulated_launches(data, options)
        encoded = Encoded.frozen(data, options)
        if options.encoder.trainable_layers and len(validation.users):
            encoded = encoded.fine_tuned_where_better(data, validation, options)
        return cls.from_encoded(encoded, data, folds, validation, options, report)

    @classmethod
    def from_encoded(
        cls, encoded: Encoded, data: ShopData, folds: list[SimulatedLaunch],
        validation: SimulatedLaunch, options: TrainerOptions, report: Report,
    ) -> Prepared:  # fmt: skip
        """All that comes after the encoder, which nothing of it changes."""
        view = data.table.view(encoded.text)
        settings = select_kernel(view, folds[:SELECTION_FOLDS], report)
        return cls(
            encoders=encoded.encoders,
            view=view,
            settings=settings,
            inputs=_inputs(data, encoded, view, settings, folds, options),
            folds=[AlignedLaunch.align(fold, view, settings) for fold in folds],
            validation=validation,
            fine_tuned=encoded.outcome,
            before_fine_tuning=None if encoded.before is None else data.table.view(encoded.before),
        )

    def towers(self, options: TrainerOptions) -> TwoTower:
        """New ones, as training starts with them."""
        return TwoTower(
            self.inputs.features,
            size=options.model.embedding_size,
            price_buckets=options.features.price_buckets,
            profile_size=self.encoders.folder.hidden_size,
            mean_rating=float(self.inputs.interactions.rating.mean()),
            head=options.rating.head,
        )


def simulated_launches(
    data: ShopData, options: TrainerOptions
) -> tuple[list[SimulatedLaunch], SimulatedLaunch]:
    """The training launches, and one more that measures what was chosen."""
    return launches(
        data.train.purchases(),
        data.table.ids,
        variant_groups(data.splits[features.TRAIN], data.table.terms),
        folds=options.training.folds,
        max_anchors=options.model.max_anchors,
        regularization=options.model.teacher_regularization,
    )


def _known_to(launch: SimulatedLaunch, data: ShopData) -> sp.csr_matrix:
    """Purchases of the launch's anchors: users x items of 0 and 1."""
    known = np.zeros(len(data.table), np.float32)
    known[launch.anchors] = 1.0
    purchases: sp.csr_matrix = data.train.purchases() @ sp.diags(known)
    purchases.eliminate_zeros()
    return purchases


def _inputs(
    data: ShopData,
    encoded: Encoded,
    view: ItemView,
    settings: KernelSettings,
    folds: list[SimulatedLaunch],
    options: TrainerOptions,
) -> Inputs:
    anchors = options.model.max_anchors
    targets = [fold.targets for fold in folds]
    return Inputs(
        features=item_features(tf.constant(encoded.text), tf.constant(data.table.lexical)).numpy(),
        price_bucket=data.table.price_bucket,
        quality=item_quality(data.train, view, settings, max_anchors=anchors),
        quality_as_new=quality_as_new(data.train, targets, view, settings, max_anchors=anchors),
        profiles=encode_profiles(
            encoded.encoders.profile,
            encoded.encoders.tokenizer,
            data.users,
            options.features.max_tokens,
        ),
        interactions=data.splits[features.TRAIN],
        later=data.splits[features.EVAL],
        negatives=np.flatnonzero(~data.table.is_cold),
    )


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
