"""Describes products by the served model: a few in this process, many by a Beam pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from models.products import Described, Product, describe

# More than so many take minutes, which workers can share.
FEW: Final = 10_000


def describe_products(
    version: Path, model: Any, products: Sequence[Product], beam_args: Sequence[str], *, place: Path
) -> Described | None:
    """What the served model says of products, in their order; None without any.

    Args:
        version: folder of the model, which every Beam worker must be able to read.
        model: the same, loaded.
        products: whatever their number.
        beam_args: of the pipeline, where they are more than `FEW`.
        place: folder that every Beam worker can write to.
    """
    if not products:
        return None
    if len(products) <= FEW:
        return describe(model, products)
    # Beam takes longer to import than a few products to describe.
    from components.catalogue.beam_describing import describe_by_beam

    return describe_by_beam(version, products, beam_args, place=place)
