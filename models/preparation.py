"""Everything that training does before anything is learned by gradient but the encoder.

Read, encode, optionally fine-tune the encoder, choose the kernel, align the simulated launches. The
Trainer and the Tuner both begin like this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf

from models import features
from models.arrays import Rows
from models.devices.checkpoints import folder_of
from models.encoded import Encoded, Encoders, Weights
from models.encoders.reading import encode_profiles
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.quality import item_quality, quality_as_new
from models.inheritance.selection import Report, keep_kernel, select_kernel
from models.inheritance.simulation import SimulatedLaunch, dealt, launches
from models.options import TrainerOptions
from models.purchase_chance import DrawnPairs
from models.record import Compressed, FineTuned
from models.replay import sampled_rows
from models.shop_data import ShopData
from models.towers import item_features
from models.training import Inputs
from models.training_state import TrainingState, assign
from models.two_tower import TwoTower

# Of the simulated launches, those on which the kernel is chosen: it has few settings.
SELECTION_FOLDS: Final = 4


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
        validation: the launch that measures what was chosen, aligned; on a warm start the one
            launch that there is.
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
    validation: AlignedLaunch
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
        aligned = [AlignedLaunch.align(fold, view, settings) for fold in folds]
        is_trained_on = folds[0] is validation
        measured = aligned[0] if is_trained_on else AlignedLaunch.align(validation, view, settings)
        return cls(
            encoders=encoded.encoders,
            encoder_weights=encoded.weights,
            view=view,
            settings=settings,
            inputs=_inputs(
                data, encoded, view, settings, options, sampled_rows(data, options, base), measured
            ),
            folds=aligned,
            validation=measured,
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
            mean_rating=self.inputs.interactions.mean_rating,
            mean_target=self.inputs.mean_target,
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


def _inputs(
    data: ShopData,
    encoded: Encoded,
    view: ItemView,
    settings: KernelSettings,
    options: TrainerOptions,
    sampled: Rows,
    launched: AlignedLaunch,
) -> Inputs:
    train, later = data.splits[features.TRAIN], data.splits[features.EVAL]
    anchors, hands = options.model.max_anchors, options.training.folds + 1
    hand, seen = dealt(data.table.ids, data.groups, hands), ~data.table.is_cold
    dealt_items = [np.flatnonzero(seen & (hand == number)) for number in range(hands)]
    quality = item_quality(data.train, view, settings, max_anchors=anchors)
    return Inputs(
        features=item_features(tf.constant(encoded.text), tf.constant(data.table.lexical)).numpy(),
        price_bucket=data.table.price_bucket,
        quality=quality,
        quality_as_new=quality_as_new(
            quality, dealt_items, data.train, view, settings, max_anchors=anchors
        ),
        profiles=encode_profiles(
            encoded.encoders.profile,
            encoded.encoders.tokenizer,
            data.users,
            options.features.max_tokens,
        ),
        interactions=train,
        sampled=sampled,
        later=later,
        is_implicit=data.is_implicit,
        negatives=np.flatnonzero(~data.table.is_cold),
        drawn=DrawnPairs.of(launched, train=train, later=later) if data.is_implicit else None,
    )
