"""What each rule about items lets through, whatever the day."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from models.arrays import Floats
from models.rules.form import PriceRule, Rules
from models.rules.names import Goods, Named


def let_through(
    rules: Rules, goods: Goods, named: Named
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """What each rule about items lets through whatever the day: its name, and bool [N]."""
    if rules.block:
        yield "block", ~named(rules.block)
    if rules.allow:
        yield "allow", named(rules.allow)
    if rules.price:
        yield "price", within(rules.price, goods.price)


def within(rule: PriceRule, price: Floats) -> npt.NDArray[np.bool_]:
    """Which prices float32 [N] a rule lets through: bool [N]."""
    most = math.inf if rule.max is None else rule.max
    inside = (price >= rule.min) & (price <= most)
    found: npt.NDArray[np.bool_] = np.where(np.isnan(price), rule.unknown, inside)
    return found
