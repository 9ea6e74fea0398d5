"""A shop as the Trainer sees it before it trains: its data, and the kernel that it chooses."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.transformed import transformed
from models.encoded import Encoded
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.selection import select_kernel
from models.inheritance.simulation import SimulatedLaunch
from models.options import TrainerOptions
from models.preparation import SELECTION_FOLDS, simulated_launches
from models.shop_data import ShopData
from pipeline.config import load_configuration
from pipeline.pipeline import training_options


class PreparedShop(NamedTuple):
    """What benchmarks of closed forms begin with; by the launch `validation` nothing was chosen."""

    options: TrainerOptions
    data: ShopData
    validation: SimulatedLaunch
    view: ItemView
    kernel: KernelSettings


def prepare(
    console: Console, data: Path | None, keep: Path | None, settings: Sequence[str] = ()
) -> PreparedShop:
    """Ingest and transform a shop, read its texts and choose the kernel.

    Args:
        console: shows what is going on.
        data: the data folder; None for the sample.
        keep: where what Transform makes is kept, or taken from; None to keep nothing.
        settings: of the configuration.
    """
    config = load_configuration(None, settings, data=data)
    options = training_options(config)
    with tempfile.TemporaryDirectory() as scratch:
        shop = ShopData.read(transformed(config, keep or Path(scratch)), options.history_length)
    folds, validation = simulated_launches(shop, options, made=SELECTION_FOLDS)
    with console.status("Reading the catalogue"):
        view = shop.table.view(Encoded.frozen(shop, options).text)
    with console.status("Choosing the kernel"):
        kernel = select_kernel(view, folds, lambda settings, recall: None)
    return PreparedShop(options, shop, validation, view, kernel)
