"""Writes the served model: its shelf is filled while its graph is traced and saved."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow_transform as tft

from models.candidates.building import build_index
from models.export.saved_graph import save_graph
from models.export.saved_shelf import save_shelf
from models.export.served import ServedModel
from models.few_shot.clock import ShopClock
from models.few_shot.weights import EvidenceWeights
from models.interactions import Purchases
from models.options import TrainerOptions
from models.preparation import Prepared
from models.purchase_chance import PurchaseChance
from models.rules import Ruled, rule
from models.shelf.admission import Admission
from models.shelf.blank import blank_shelf
from models.shelf.filling import anchors_of, fill_shelf
from models.shelf.shelf import Shelf, ShelfData
from models.shop_data import ShopData
from models.threads import beside
from models.two_tower import TwoTower


def export(
    folder: str,
    data: ShopData,
    prepared: Prepared,
    model: TwoTower,
    options: TrainerOptions,
    clock: ShopClock,
    weights: EvidenceWeights,
    chance: PurchaseChance | None,
    *,
    catalogue_graph: tft.TFTransformOutput,
    beam_args: Sequence[str],
    strength: float = 0.0,
) -> ShelfData:
    """Fill the shelf with the whole catalogue, new products included, and write the served model.

    Args:
        folder: to write.
        data: the shop's.
        prepared: encoders, kernel, and what training looked up.
        model: the towers.
        options: of training.
        clock: of the shop.
        weights: of first interactions.
        chance: of a purchase, where feedback is implicit; else None.
        catalogue_graph: Transform's, which becomes part of the model.
        beam_args: of the pipeline that builds an index.
        strength: with which the exposure of new items is evened out.

    Returns:
        What stands on the shelf.
    """
    ruled = rule(options.rules, data.table.goods, now=time.time()) if options.rules else None
    # Beside the model: it has room for one, and Beam's workers share that place.
    beside_it = Path(folder).parent
    beside_it.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=beside_it) as scratch:
        blank = Path(scratch) / "blank"
        shelf = Shelf(
            _blank(data, model, options, ruled),
            user_ids=_write_ids(Path(scratch) / "users.txt", data.users.ids),
            small=options.compression.is_in_8_bits,
        )

        def save_blank() -> ServedModel:
            served = ServedModel(
                tokenizer=prepared.encoders.tokenizer,
                item_encoder=prepared.encoders.item,
                profile_encoder=prepared.encoders.profile,
                model=model,
                shelf=shelf,
                evidence=weights,
                catalogue_graph=catalogue_graph,
                chance=chance,
                max_tokens=options.features.max_tokens,
                rules=options.rules,
            )
            save_graph(served, blank, served.signatures())
            return served

        (columns, admission), served = beside(
            lambda: _fill(data, prepared, model, options, clock, ruled, strength), save_blank
        )
        if options.index.is_indexed(len(data.table)):
            index = build_index(
                columns.served, options.index, beam_args=beam_args, scratch=beside_it
            )
            columns = replace(columns, index=index)
        shelf.fill(columns)
        save_shelf(served, blank, Path(folder))
    admission.save(Path(folder))
    if options.rules:
        options.rules.save(Path(folder))
    return columns


def _blank(
    data: ShopData, model: TwoTower, options: TrainerOptions, ruled: Ruled | None
) -> ShelfData:
    served, judged = (
        len(anchors_of(part.purchases(), options.model)) for part in (data.everything, data.train)
    )
    return blank_shelf(size=model.size, served=served, judged=judged, rules=ruled)


def _fill(
    data: ShopData,
    prepared: Prepared,
    model: TwoTower,
    options: TrainerOptions,
    clock: ShopClock,
    ruled: Ruled | None,
    strength: float,
) -> tuple[ShelfData, Admission]:
    inputs = prepared.inputs
    return fill_shelf(
        model, data.table, inputs.features, prepared.view, prepared.settings,
        train=data.train, train_quality=inputs.quality, everything=data.everything,
        purchases=Purchases.of(list(data.splits.values()), len(data.users)),
        clock=clock, user_ids=data.users.ids, profiles=inputs.profiles, options=options.model,
        span=data.item_span, rules=ruled, strength=strength,
        small=options.compression.is_in_8_bits,
    )  # fmt: skip


def _write_ids(file: Path, ids: npt.NDArray[np.object_]) -> Path:
    file.write_bytes(b"".join(item + b"\n" for item in ids))
    return file
