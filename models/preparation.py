"""Everything that training does before anything is learned by gradient but the encoder.

Read, encode, optionally fine-tune the encoder, choose the kernel, align the simulated launches. The
Trainer and the Tuner both begin like this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
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
from models.arrays import Floats, Rows
from models.compression.compress import compress, restored, weight_bytes
from models.devices.checkpoints import folder_of
from models.devices.precision import set_precision
from models.devices.strategy import make_strategy
from models.encoders.encoder import SentenceEncoder, TextEncoder
from models.encoders.finetuning import finetune, kernel_recall
from models.encoders.folder import EncoderFolder, open_encoder
from models.encoders.pretraining import pretrain
from models.encoders.tokenizer import WordPieceTokenizer
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.quality import Ratings, item_quality, quality_as_new
from models.inheritance.selection import START, Report, keep_kernel, select_kernel
from models.inheritance.simulation import SimulatedLaunch, dealt, launches
from models.inheritance.variants import variant_groups
from models.interactions import Interactions, Users, read_interactions
from models.item_table import ItemTable, check_counts, read_item_table, read_popularity
from models.options import (
    CATALOGUE_FILES,
    CATALOGUE_GRAPH_PATH,
    SPLIT_FILES,
    CompressionOptions,
    ContinualOptions,
    EncoderOptions,
    ExposureOptions,
    FeatureOptions,
    FineTuningOptions,
    IndexOptions,
    ModelOptions,
    PretrainingOptions,
    RatingOptions,
    TrackingOptions,
    TrainingOptions,
)
from models.record import Compressed, FineTuned
from models.replay import replayed
from models.rules import Rules
from models.self_training import confident_pairs
from models.towers import item_features
from models.training import Inputs
from models.training_state import Facts, TrainingState, assign
from models.two_tower import TwoTower

_ENCODE_BATCH = 64
# Of the simulated launches, those on which the kernel is chosen: it has few settings.
SELECTION_FOLDS = 4
_ARCHITECTURE = ("encoder", "encoder_fingerprint", "features", "model", "rating", "compression")


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
    compression: CompressionOptions
    training: TrainingOptions
    continual: ContinualOptions
    exposure: ExposureOptions
    tracking: TrackingOptions
    index: IndexOptions
    history_length: int
    rules: Rules | None = None

    @property
    def architecture(self) -> str:
        """What decides the shape of weights and what they read, as JSON."""
        return self.model_dump_json(include=set(_ARCHITECTURE))

    @property
    def warm(self) -> TrainingOptions:
        """Those of a training that goes on from another one."""
        steps = min(self.continual.steps, self.training.steps)
        return self.training.model_copy(update={"steps": steps})

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
        groups: equal for variants of one product, int32 [I].
    """

    table: ItemTable
    splits: dict[str, Interactions]
    users: Users
    train: Ratings
    everything: Ratings
    groups: npt.NDArray[np.int32]

    @property
    def span(self) -> int:
        """The newest span with interactions, 0 where there are no spans."""
        return max(int(part.span.max(initial=0)) for part in self.splits.values())

    @property
    def item_span(self) -> npt.NDArray[np.int32]:
        """The span of each item's first interaction, the newest where there is none: int32 [I]."""
        first = np.full(len(self.table), self.span, np.int32)
        for part in self.splits.values():
            np.minimum.at(first, part.item, part.span)
        return first

    def facts(self, options: TrainerOptions) -> Facts:
        """What a training on this data can go on from."""
        implicit = self.splits[features.TRAIN].is_implicit
        return Facts(architecture=options.architecture, implicit=implicit)

    @classmethod
    def read(cls, arguments: FnArgs, history_length: int) -> ShopData:
        """Read the Examples and vocabularies that TFX and `components.trainer` name."""
        given: dict[str, Any] = arguments.custom_config
        graph = tft.TFTransformOutput(given[CATALOGUE_GRAPH_PATH])
        popularity = read_popularity(tft.TFTransformOutput(arguments.transform_graph_path))
        table = read_item_table(given[CATALOGUE_FILES], graph, popularity)
        splits, users = read_interactions(given[SPLIT_FILES], table.ids, history_length)
        check_counts(table, splits)
        sizes = {"users": len(users), "items": len(table)}
        return cls(
            table=table,
            splits=splits,
            users=users,
            train=Ratings.of([splits[features.TRAIN]], **sizes),
            everything=Ratings.of(list(splits.values()), **sizes),
            groups=variant_groups(splits[features.TRAIN], table.terms),
        )


Weights = Sequence[npt.NDArray[Any]]


def tunable(folder: EncoderFolder, options: EncoderOptions, weights: Weights = ()) -> TextEncoder:
    """An encoder that can be fine-tuned, with its own weights or with those of an earlier time."""
    encoder = TextEncoder(
        folder,
        trainable_layers=options.trainable_layers,
        adaptation=options.adaptation,
        adaptation_size=options.adaptation_size,
    )
    if weights:
        assign(encoder.variables, weights)
    return encoder


@dataclass(frozen=True)
class Encoders:
    """The text encoders of both towers, which may be one, and their tokenizer."""

    folder: EncoderFolder
    tokenizer: WordPieceTokenizer
    item: SentenceEncoder
    profile: SentenceEncoder

    @classmethod
    def load(
        cls,
        options: EncoderOptions,
        weights: Weights = (),
        compression: CompressionOptions | None = None,
    ) -> Encoders:
        """Load what the configuration names, frozen.

        Args:
            options: of the encoder.
            weights: fine-tuned or compressed ones of the item encoder, instead of those in its
                folder.
            compression: that made the weights, if there was one.
        """
        folder = open_encoder(options.name)
        item: SentenceEncoder
        if not weights:
            item = TextEncoder(folder)
        elif compression is not None and compression.is_on:
            item = restored(folder, compression, weights)
        else:
            item = tunable(folder, options, weights)
        profile = item if options.shared else TextEncoder(folder)
        return cls(folder, WordPieceTokenizer(folder), item, profile)

    def with_item(self, encoder: SentenceEncoder) -> Encoders:
        """With another encoder of items, and of profiles where they share one."""
        shared = self.profile is self.item
        return replace(self, item=encoder, profile=encoder if shared else self.profile)


@dataclass(frozen=True)
class Encoded:
    """The catalogue as its encoder reads it.

    Attributes:
        encoders: with which.
        text: float32 [I, hidden].
        strategy: under which encoders are trained; what is kept of them is free of it.
        weights: of the item encoder where it was fine-tuned or compressed, now or before, else
            none.
        outcome: of fine-tuning, None where there was none.
        before: the text before fine-tuning, None where there was none.
        compressed_to: what the encoder was made, None where it stayed as it was.
    """

    encoders: Encoders
    text: Floats
    strategy: tf.distribute.Strategy
    weights: Weights = ()
    outcome: FineTuned | None = None
    before: Floats | None = None
    compressed_to: Compressed | None = None

    @classmethod
    def frozen(
        cls, data: ShopData, options: TrainerOptions, base: TrainingState | None = None
    ) -> Encoded:
        """By the encoder as it comes, or as it was left.

        Args:
            data: whose items are read.
            options: of the encoder.
            base: an earlier training; texts that it has read are not read again.
        """
        strategy = make_strategy(options.training.strategy)
        set_precision(options.training.precision)
        weights = base.encoder if base else ()
        encoders = Encoders.load(options.encoder, weights, options.compression)
        tokens = data.table.tokens
        text = np.empty((len(tokens), encoders.item.hidden_size), np.float32)
        unknown = np.ones(len(tokens), np.bool_)
        if base is not None:
            known, theirs = base.known_texts(tokens)
            text[known], unknown[known] = base.text[theirs], False
        text[unknown] = encode(encoders.item, tokens[unknown])
        return cls(encoders, text, strategy, weights)

    @classmethod
    def trained(
        cls, data: ShopData, validation: SimulatedLaunch, options: TrainerOptions,
        base: TrainingState | None = None, checkpoints: Path | None = None,
    ) -> Encoded:  # fmt: skip
        """By the encoder that the options ask for: fine-tuned, made small, or as it comes.

        Args:
            data: the shop's.
            validation: the launch by which a fine-tuned encoder is judged.
            options: of training.
            base: an earlier training.
            checkpoints: folder of this training's; None for none.
        """
        encoded = cls.frozen(data, options, base)
        is_small = bool(options.compression.is_on and encoded.weights)
        if options.encoder.trainable_layers and len(validation.users) and not is_small:
            sampled = sampled_rows(data, options, base)
            encoded = encoded.fine_tuned_where_better(
                data, validation, options, sampled, checkpoints
            )
        if options.compression.is_on and not is_small:
            encoded = encoded.compressed(data, options)
        return encoded

    def fine_tuned_where_better(
        self, data: ShopData, validation: SimulatedLaunch, options: TrainerOptions, sampled: Rows,
        checkpoints: Path | None = None,
    ) -> Encoded:  # fmt: skip
        """By a fine-tuned encoder, if new items of the launch are found better with it alone.

        Args:
            data: the shop's.
            validation: the launch.
            options: of fine-tuning.
            sampled: rows of the train split that it trains on.
            checkpoints: folder from which a killed training goes on; None for none.
        """
        folder, tokens, seed = self.encoders.folder, data.table.tokens, options.training.seed
        histories = _known_to(validation, data, sampled)
        if count := options.finetuning.self_training_pairs:
            view = data.table.view(self.text)
            histories += confident_pairs(validation, view, START, count)
        with self.strategy.scope():
            tuned = tunable(folder, options.encoder, self.weights)
            trainable = int(sum(np.prod(v.shape) for v in tuned.trainable_variables))
            logging.info("Fine-tuning %d weights of the encoder", trainable)
            pretrain(
                tuned, folder, tokens, options=options.pretraining, seed=seed,
                checkpoints=checkpoints and checkpoints / "pretraining",
            )  # fmt: skip
            finetune(
                tuned, tokens, histories, options=options.finetuning, seed=seed,
                checkpoints=checkpoints and checkpoints / "finetuning",
            )  # fmt: skip
            weights = [variable.numpy() for variable in tuned.variables]
        candidate = tunable(folder, options.encoder, weights)
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
        return replace(
            self, encoders=encoders, text=text, outcome=outcome, before=self.text, weights=weights
        )

    def compressed(self, data: ShopData, options: TrainerOptions) -> Encoded:
        """By an encoder that was made of this one as the configuration says."""
        teacher, tokens = self.encoders.item, data.table.tokens
        assert isinstance(teacher, TextEncoder)
        with self.strategy.scope():
            made = compress(
                teacher, self.encoders.folder, tokens, self.text, read=encode,
                options=options.compression, seed=options.training.seed,
            )  # fmt: skip
            weights = [variable.numpy() for variable in made.variables]
        small = restored(self.encoders.folder, options.compression, weights)
        text = encode(small, tokens)
        compressed = Compressed(
            before=weight_bytes(teacher),
            after=weight_bytes(small),
            agreement=float((text * self.text).sum(axis=1).mean()),
        )
        logging.info("The encoder was made small: %s", compressed)
        return replace(
            self, encoders=self.encoders.with_item(small), text=text, compressed_to=compressed,
            weights=weights,
        )  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """What the towers are trained on.

    Attributes:
        encoders: frozen from here on.
        encoder_weights: of the item encoder where it was fine-tuned or compressed, else none.
        view: the catalogue as the kernel sees it.
        settings: of the kernel, as chosen.
        inputs: what training looks rows up in.
        folds: the training launches, aligned.
        validation: the launch that measures what was chosen.
        fine_tuned: None where the encoder was frozen.
        before_fine_tuning: the catalogue as it was then; None likewise.
        compressed: what the encoder was made, None where it stayed as it was.
    """

    encoders: Encoders
    encoder_weights: Weights
    view: ItemView
    settings: KernelSettings
    inputs: Inputs
    folds: list[AlignedLaunch]
    validation: SimulatedLaunch
    fine_tuned: FineTuned | None
    before_fine_tuning: ItemView | None
    compressed: Compressed | None

    @classmethod
    def of(
        cls, data: ShopData, options: TrainerOptions, report: Report,
        base: TrainingState | None = None, checkpoints: Path | None = None,
    ) -> Prepared:  # fmt: skip
        """Do all that.

        Args:
            data: the shop's.
            options: of training.
            report: is told what settings of the kernel are worth.
            base: a training to go on from. What it found stays, unless a check says otherwise,
                and one launch is simulated for everything.
            checkpoints: folder of this training's; None for none.
        """
        folds, validation = simulated_launches(data, options, made=0 if base else None)
        # What gradient descent learns takes no part in what is measured on it.
        folds = folds or [validation]
        encoded = Encoded.trained(data, validation, options, base, checkpoints)
        return cls.from_encoded(encoded, data, folds, validation, options, report, base)

    @classmethod
    def from_encoded(
        cls, encoded: Encoded, data: ShopData, folds: list[SimulatedLaunch],
        validation: SimulatedLaunch, options: TrainerOptions, report: Report,
        base: TrainingState | None = None,
    ) -> Prepared:  # fmt: skip
        """All that comes after the encoder, which nothing of it changes."""
        view = data.table.view(encoded.text)
        chosen_on = folds[:SELECTION_FOLDS]
        settings = (
            keep_kernel(base.kernel, view, chosen_on, report)
            if base
            else select_kernel(view, chosen_on, report)
        )
        return cls(
            encoders=encoded.encoders,
            encoder_weights=encoded.weights,
            view=view,
            settings=settings,
            inputs=_inputs(
                data, encoded, view, settings, options, sampled_rows(data, options, base)
            ),
            folds=[AlignedLaunch.align(fold, view, settings) for fold in folds],
            validation=validation,
            fine_tuned=encoded.outcome,
            before_fine_tuning=None if encoded.before is None else data.table.view(encoded.before),
            compressed=encoded.compressed_to,
        )

    def towers(self, options: TrainerOptions, base: TrainingState | None = None) -> TwoTower:
        """As training starts with them: new ones, or those of an earlier training."""
        towers = TwoTower(
            self.inputs.features,
            size=options.model.embedding_size,
            price_buckets=options.features.price_buckets,
            profile_size=self.encoders.folder.hidden_size,
            mean_rating=float(self.inputs.interactions.rating.mean()),
            head=options.rating.head,
        )
        if base is not None:
            assign(towers.variables, base.towers)
        return towers


def simulated_launches(
    data: ShopData, options: TrainerOptions, made: int | None = None
) -> tuple[list[SimulatedLaunch], SimulatedLaunch]:
    """The training launches, or the first `made`, and one more that measures what was chosen."""
    return launches(
        data.train.purchases(),
        data.table.ids,
        data.groups,
        folds=options.training.folds,
        max_anchors=options.model.max_anchors,
        regularization=options.model.teacher_regularization,
        made=made,
    )


def sampled_rows(data: ShopData, options: TrainerOptions, base: TrainingState | None) -> Rows:
    """Rows of the train split that gradient descent draws from: int64 [M].

    A model that starts anew without being asked to has nothing that it could forget; it learns from
    all of them.
    """
    is_bounded = base is not None or options.continual.start == "fresh"
    return replayed(
        data.splits[features.TRAIN].span,
        latest=data.span,
        count=options.continual.replay if is_bounded else None,
        seed=options.training.seed,
    )


def checkpoint_folder(
    data: ShopData, options: TrainerOptions, base: TrainingState | None
) -> Path | None:
    """Where the encoder's checkpoints of this training are kept, if they are."""
    if options.training.checkpoints is None:
        return None
    train = data.splits[features.TRAIN]
    weights = base.encoder if base else ()
    depends_on = [data.table.tokens, train.user, train.item, train.span, *weights]
    return folder_of(options.training.checkpoints, options.model_dump_json(), depends_on)


def _known_to(launch: SimulatedLaunch, data: ShopData, sampled: Rows) -> sp.csr_matrix:
    """Purchases of the launch's anchors in the sampled rows: users x items of 0 and 1."""
    known = np.zeros(len(data.table), np.float32)
    known[launch.anchors] = 1.0
    purchases: sp.csr_matrix = data.train.rows(sampled).purchases() @ sp.diags(known)
    purchases.eliminate_zeros()
    return purchases


def _inputs(
    data: ShopData,
    encoded: Encoded,
    view: ItemView,
    settings: KernelSettings,
    options: TrainerOptions,
    sampled: Rows,
) -> Inputs:
    anchors, folds = options.model.max_anchors, options.training.folds
    hand = dealt(data.table.ids, data.groups, folds + 1)
    seen = ~data.table.is_cold
    targets = [np.flatnonzero(seen & (hand == fold)) for fold in range(folds)]
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
        sampled=sampled,
        later=data.splits[features.EVAL],
        negatives=np.flatnonzero(~data.table.is_cold),
    )


def encode(encoder: SentenceEncoder, tokens: npt.NDArray[np.int32]) -> Floats:
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
    encoder: SentenceEncoder, tokenizer: WordPieceTokenizer, users: Users, max_tokens: int
) -> Floats:
    """Encode each distinct profile once: float32 [U, hidden], zeros for an empty one."""
    texts, place = np.unique(users.profiles, return_inverse=True)
    pieces = tokenizer.pieces(tf.constant(list(texts)))
    tokens = tokenizer.encoder_input(pieces, max_tokens).numpy().astype(np.int32)
    encoded = encode(encoder, tokens)
    encoded[texts == b""] = 0.0
    return encoded[place]
