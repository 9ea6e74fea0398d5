"""The encoders of a training: as they come, fine-tuned or made small, and what they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
from absl import logging

from models.arrays import Doubles, Floats, Rows
from models.compression.compress import compress, restored, weight_bytes
from models.devices.precision import set_precision
from models.devices.strategy import make_strategy
from models.encoders.encoder import SentenceEncoder, TextEncoder
from models.encoders.finetuning import finetune, has_pairs
from models.encoders.folder import EncoderFolder, open_encoder
from models.encoders.pretraining import pretrain
from models.encoders.reading import encode
from models.encoders.tokenizer import WordPieceTokenizer
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.selection import START
from models.inheritance.simulation import SimulatedLaunch
from models.options import CompressionOptions, EncoderOptions, TrainerOptions
from models.ranking import standard_error
from models.record import Compressed, FineTuned
from models.replay import sampled_rows
from models.self_training import confident_pairs
from models.shop_data import ShopData
from models.training_state import TrainingState, assign

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
        """By a fine-tuned encoder, if new items of the launch are clearly found better with it.

        They inherit by the kernel that a choice of settings starts from. Judged by nearness to the
        history, an encoder can gain that makes what they inherit worse.

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
        if not has_pairs(histories):
            logging.warning("The encoder is not fine-tuned: no user has two items to learn from")
            return self
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
        before, after = (_inherited_recall(read, data, validation) for read in (self.text, text))
        outcome = FineTuned(
            before=float(before.mean()),
            after=float(after.mean()),
            trainable=trainable,
            error=standard_error([after - before]),
        )
        logging.info("Recall of new items before and after fine-tuning: %s", outcome)
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


def _inherited_recall(text: Floats, data: ShopData, launch: SimulatedLaunch) -> Doubles:
    """Of each user: float64 [B]."""
    recall, _ = AlignedLaunch.align(launch, data.table.view(text), START).quality_by_user()
    return recall


def _known_to(launch: SimulatedLaunch, data: ShopData, sampled: Rows) -> sp.csr_matrix:
    """Purchases of the launch's anchors in the sampled rows: users x items of 0 and 1."""
    known = np.zeros(len(data.table), np.float32)
    known[launch.anchors] = 1.0
    purchases: sp.csr_matrix = data.train.rows(sampled).purchases() @ sp.diags(known)
    purchases.eliminate_zeros()
    return purchases
