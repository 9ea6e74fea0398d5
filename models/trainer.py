"""TFX's entry into training: read, prepare, train, fill the shelf, save.

Given to the Trainer by dotted path; `module_file` would build a wheel for every component.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_transform as tft
import tf_keras
from absl import logging
from tfx.components.trainer.fn_args_utils import FnArgs

from models.curves import by_first_interactions, by_labelled_share, without_encoder
from models.devices.strategy import is_chief, make_strategy, meet
from models.encoded import Encoded
from models.export.saving import export
from models.exposure.balancing import Traded, strongest, traded
from models.features import TRAIN
from models.few_shot.adaptation import learn_adaptation
from models.few_shot.clock import ShopClock
from models.few_shot.weights import EvidenceWeights
from models.garbage import seldom_collected
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.selection import START
from models.options import BEAM_ARGS, CATALOGUE_GRAPH_PATH, OPTIONS, TrainerOptions
from models.preparation import Prepared, checkpoint_folder, simulated_launches
from models.record import MeasuredPoint, TrainingRecord, TrainingRecorder
from models.rules import RuleCount, count_rules, require_something
from models.shelf.filling import anchors_of
from models.shelf.shelf import ShelfData
from models.shop_data import ShopData
from models.tracking import ItemSpace, Trackers, open_trackers
from models.tracking.tracker import flat
from models.training import Trainer
from models.training_state import Facts, TrainingState


def run_fn(arguments: FnArgs) -> None:
    """Train on the Examples and write the served model and a record of the training.

    Where several workers train, the first of them writes; all of them end at the same time.

    Args:
        arguments: TFX's; `custom_config` also holds what `components.trainer` adds. With a
            `base_model` training goes on from that, where options and data allow it.
    """
    configured = TrainerOptions.model_validate(arguments.custom_config[OPTIONS])
    options = configured.with_hyperparameters(arguments.hyperparameters)
    # Before TensorFlow does anything: workers have to be connected first.
    strategy = make_strategy(options.training.strategy)
    tf_keras.utils.set_random_seed(options.training.seed)
    with seldom_collected():
        if is_chief(strategy):
            folder = Path(arguments.model_run_dir)
            with open_trackers(options.tracking, folder) as trackers:
                told = options.model_dump(mode="json", exclude={"rules", "tracking"})
                trackers.options(flat(told))
                _train(arguments, options, trackers)
        else:
            _train_along(arguments, options)
        meet(strategy)


def _read(arguments: FnArgs, options: TrainerOptions) -> ShopData:
    data = ShopData.read(arguments, options.history_length)
    # Before hours of training, of which nothing could be recommended.
    require_something(options.rules, data.table.goods, data.table.available, now=time.time())
    return data


def _train_along(arguments: FnArgs, options: TrainerOptions) -> None:
    """What is there to do for a worker that is not the first: to train the encoder with it."""
    data = _read(arguments, options)
    base, _ = find_base(arguments.base_model, data.facts(options))
    _, validation = simulated_launches(data, options, made=0)
    Encoded.trained(data, validation, options, base, checkpoint_folder(data, options, base))
    # TFX wants to see one; the first worker fills its own.
    Path(arguments.serving_model_dir).mkdir(parents=True, exist_ok=True)


class _Judged(NamedTuple):
    """What the launch that is kept for it says of the kernel, and of exposure.

    Attributes:
        before: quality of its lists by the settings that were there before.
        after: by the chosen ones.
        points: relevance against even exposure.
        strength: with which exposure is evened out.
    """

    before: dict[str, float]
    after: dict[str, float]
    points: list[Traded]
    strength: float

    @classmethod
    def of(cls, prepared: Prepared, options: TrainerOptions, base: TrainingState | None) -> _Judged:
        """Measure all that."""
        launched = prepared.validation
        after = before = launched.quality()
        earlier = base.kernel if base else START
        if not base or earlier != prepared.settings:
            before = AlignedLaunch.align(launched.launch, prepared.view, earlier).quality()
        # A warm start draws no curve that nobody chooses by.
        points = traded(launched) if options.exposure.max_loss or not base else []
        return cls(before, after, points, strongest(points, options.exposure.max_loss))


def _train(arguments: FnArgs, options: TrainerOptions, trackers: Trackers) -> None:
    data = _read(arguments, options)
    rule_counts = _rule_counts(data, options)
    for warning in filter(None, (count.warning for count in rule_counts)):
        logging.warning("%s", warning)
    base, start = find_base(arguments.base_model, data.facts(options))
    recorder = TrainingRecorder(Path(arguments.model_run_dir), trackers)
    checkpoints = checkpoint_folder(data, options, base)
    prepared = Prepared.of(data, options, recorder.kernel, base, checkpoints)
    model = prepared.towers(options, base)
    training = options.warm if base else options.training
    outcome = Trainer(model, prepared.inputs, training).run(prepared.folds, recorder.step)
    clock = ShopClock.of(np.concatenate([part.timestamp for part in data.splits.values()]))
    weights = base.evidence if base else _learn_evidence(data, prepared, clock, options)
    judged = _Judged.of(prepared, options, base)
    served = Path(arguments.serving_model_dir)
    shelf = export(
        str(served), data, prepared, model, options, clock, weights, outcome.chance,
        strength=judged.strength,
        catalogue_graph=tft.TFTransformOutput(arguments.custom_config[CATALOGUE_GRAPH_PATH]),
        beam_args=arguments.custom_config[BEAM_ARGS],
    )  # fmt: skip
    trackers.items(_item_space(shelf, options.tracking.projected_items))
    recorder.finish(
        TrainingRecord(
            start=start,
            replayed=int((data.splits[TRAIN].span[prepared.inputs.sampled] < data.span).sum()),
            before=judged.before | outcome.before,
            after=judged.after | outcome.after,
            kept_step=outcome.step,
            curve=recorder.curve,
            fine_tuned=prepared.fine_tuned,
            compressed=prepared.compressed,
            encoder=options.compression.made_of(options.encoder.title),
            kernel=prepared.settings._asdict(),
            items=len(data.table),
            users=len(data.users),
            interactions=len(data.splits[TRAIN]),
            implicit=data.is_implicit,
            parameters=model.parameters,
            exposure=[point.point() for point in judged.points],
            exposure_strength=judged.strength,
            rules=rule_counts,
            tuned=(arguments.hyperparameters or {}).get("values", {}),
            # What a warm start would spend a third of its time on.
            **({} if base else _curves(data, prepared, clock, weights, options)),
        )
    )
    TrainingState(
        facts=data.facts(options),
        kernel=prepared.settings,
        evidence=weights,
        tokens=data.table.tokens,
        text=prepared.view.text,
        towers=[variable.numpy() for variable in model.variables],
        encoder=prepared.encoder_weights,
    ).write(served)
    if checkpoints is not None and checkpoints.exists():
        shutil.rmtree(checkpoints)


def _rule_counts(data: ShopData, options: TrainerOptions) -> list[RuleCount]:
    if not options.rules:
        return []
    lends = np.zeros(len(data.table), np.bool_)
    lends[anchors_of(data.everything.purchases(), options.model)] = True
    return count_rules(options.rules, data.table.goods, lends)


def find_base(model: str | None, facts: Facts) -> tuple[TrainingState | None, str]:
    """The training to go on from, if there is one that fits, and how training starts, in words.

    Args:
        model: folder of the served model that TFX names.
        facts: of the training that begins.
    """
    if model is None:
        return None, "fresh"
    base = TrainingState.read(Path(model))
    if base is None:
        reason = "the base model was trained before Debut kept what a training goes on from"
    elif base.facts.implicit != facts.implicit:
        reason = "the base model was trained on the other kind of feedback"
    elif base.facts.architecture != facts.architecture:
        reason = (
            "the base model was trained with another encoder, or with other options of encoder, "
            "compression, features, model or rating"
        )
    elif base.facts.splits != facts.splits:
        reason = (
            "the base model was trained with other options of data that split it, so on some of "
            "what is held out now"
        )
    else:
        return base, "warm"
    logging.warning("Training starts fresh: %s (%s)", reason, model)
    return None, f"fresh: {reason}"


def _learn_evidence(
    data: ShopData, prepared: Prepared, clock: ShopClock, options: TrainerOptions
) -> EvidenceWeights:
    return learn_adaptation(
        prepared.folds,
        data.splits[TRAIN],
        clock,
        anchors_per_item=options.model.anchors_in(len(data.table)),
    )


def _curves(
    data: ShopData,
    prepared: Prepared,
    clock: ShopClock,
    weights: EvidenceWeights,
    options: TrainerOptions,
) -> dict[str, list[MeasuredPoint]]:
    views = {"words alone": without_encoder(prepared.view), "with encoder": prepared.view}
    if prepared.before_fine_tuning is not None:
        views = {"before fine-tuning": prepared.before_fine_tuning} | views
    return {
        "first_interactions": by_first_interactions(
            prepared.validation,
            data.splits[TRAIN],
            clock,
            weights,
            anchors_per_item=options.model.anchors_in(len(data.table)),
        ),
        "labelled_share": by_labelled_share(
            data.train,
            prepared.validation.launch,
            views,
            prepared.settings,
            regularization=options.model.teacher_regularization,
        ),
    }


def _item_space(shelf: ShelfData, most: int) -> ItemSpace:
    """So many items at most, from all parts of the catalogue."""
    rows = np.unique(np.linspace(0, len(shelf.item_id) - 1, most).astype(int))
    return ItemSpace(
        embedding=shelf.embedding[rows].astype(np.float32),
        item_id=[item.decode() for item in shelf.item_id[rows]],
        name=[name.decode() for name in shelf.item_name[rows]],
        state=["new" if new else "seen" for new in shelf.is_new[rows]],
    )
