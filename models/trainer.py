"""TFX's entry into training: read, prepare, train, fill the shelf, save.

Given to the Trainer by dotted path; `module_file` would build a wheel for every component.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from tfx.components.trainer.fn_args_utils import FnArgs

from models.adaptation import EvidenceWeights, learn_adaptation
from models.clock import ShopClock
from models.curves import by_first_interactions, by_labelled_share, without_encoder
from models.interactions import Purchases
from models.options import CATALOGUE_GRAPH_PATH, OPTIONS
from models.preparation import Prepared, ShopData, TrainerOptions
from models.record import TrainingRecord, TrainingRecorder
from models.selection import START
from models.served import ServedModel
from models.shelf import Shelf, fill_shelf
from models.training import AlignedLaunch, Trainer
from models.two_tower import TwoTower


def run_fn(arguments: FnArgs) -> None:
    """Train on the Examples and write the served model and a record of the training.

    Args:
        arguments: TFX's; `custom_config` also holds what `components.trainer` adds.
    """
    configured = TrainerOptions.model_validate(arguments.custom_config[OPTIONS])
    options = configured.with_hyperparameters(arguments.hyperparameters)
    tf_keras.utils.set_random_seed(options.training.seed)
    data = ShopData.read(arguments, options.history_length)
    recorder = TrainingRecorder(Path(arguments.model_run_dir))
    prepared = Prepared.of(data, options, recorder.kernel)
    model = prepared.towers(options)
    inputs = prepared.inputs
    outcome = Trainer(model, inputs, options.training).run(prepared.folds, recorder.step)
    clock = ShopClock.of(np.concatenate([part.timestamp for part in data.splits.values()]))
    per_item = options.model.anchors_in(len(data.table))
    weights = learn_adaptation(
        prepared.folds, inputs.interactions, clock, anchors_per_item=per_item
    )
    view, settings, validation = prepared.view, prepared.settings, prepared.validation
    views = {"words alone": without_encoder(view), "with encoder": view}
    if prepared.before_fine_tuning is not None:
        views = {"before fine-tuning": prepared.before_fine_tuning} | views
    launched = AlignedLaunch.align(validation, view, settings)
    recorder.finish(
        TrainingRecord(
            before=AlignedLaunch.align(validation, view, START).quality() | outcome.before,
            after=launched.quality() | outcome.after,
            kept_step=outcome.step,
            curve=recorder.curve,
            fine_tuned=prepared.fine_tuned,
            kernel=settings._asdict(),
            items=len(data.table),
            users=len(data.users),
            interactions=len(inputs.interactions),
            implicit=inputs.interactions.is_implicit,
            parameters=model.parameters,
            tuned=(arguments.hyperparameters or {}).get("values", {}),
            first_interactions=by_first_interactions(
                launched,
                inputs.interactions,
                clock,
                weights,
                anchors_per_item=per_item,
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
        arguments.serving_model_dir, data, prepared, model, options, clock, weights,
        catalogue_graph=tft.TFTransformOutput(arguments.custom_config[CATALOGUE_GRAPH_PATH]),
    )  # fmt: skip


def _save(
    folder: str,
    data: ShopData,
    prepared: Prepared,
    model: TwoTower,
    options: TrainerOptions,
    clock: ShopClock,
    weights: EvidenceWeights,
    *,
    catalogue_graph: tft.TFTransformOutput,
) -> None:
    """Fill the shelf with the whole catalogue, new products included, and export."""
    inputs, encoders = prepared.inputs, prepared.encoders
    columns, admission = fill_shelf(
        model, data.table, inputs.features, prepared.view, prepared.settings,
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
    admission.save(Path(folder))


def _write_ids(file: Path, ids: npt.NDArray[np.object_]) -> Path:
    file.write_bytes(b"".join(item + b"\n" for item in ids))
    return file
