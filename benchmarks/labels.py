"""How many labels a plan saves: recall on new items, by what was labelled before them.

A shop begins with a few items that have interactions. More of its new items are labelled, either
those of `debut label-plan` or random ones: all their interactions become known. Asked are items of
which none is ever labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from benchmarks.prepared import PreparedShop, prepare
from models.arrays import Doubles, Floats, Rows
from models.curves import inherited_recall
from models.inheritance.aligned_launch import AlignedLaunch
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.simulation import SimulatedLaunch, dealt
from models.label_plan import Placed, plan_labels
from models.ranking import PLACES
from models.towers import ItemTower, item_features
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table

SHARES: Final = (0.0, 0.02, 0.04, 0.07, 0.12, 0.2)
_HANDS: Final = 5
_USERS: Final = 2048


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks labels
  python -m benchmarks labels --data shop --begin 0.05""",
)
@click.option("--data", type=PATH, help="A data folder  [default: the sample]")
@click.option("--seed", type=int, default=101, show_default=True, help="Of the items asked for.")
@click.option("--begin", type=float, default=0.1, show_default=True, help="Share labelled before.")
@click.option("--draws", type=int, default=3, show_default=True, help="Of random items.")
@click.option("--keep", type=PATH, help="Keep what Transform made in here, or take it from there.")
def labels(data: Path | None, seed: int, begin: float, draws: int, keep: Path | None) -> None:
    """Compare planned labels with random ones."""
    console = open_console()
    asking = Asking.of(prepare(console, data, keep), seed=seed)
    curve = []
    for number in range(draws):
        with console.status(f"Draw {number + 1} of {draws}"):
            curve.append(asking.compare(begin, np.random.default_rng([seed, number])))
    _print(console, asking, np.array(curve), begin)


@dataclass(frozen=True)
class Asking:
    """What new items are asked for, whatever is labelled.

    Attributes:
        purchases: users x items of 0 and 1, with everything that is known in the end.
        space: float32 [I, D], where the items lie.
        view: the catalogue as the kernel sees it.
        kernel: its settings.
        regularization: of the teacher.
        pool: rows of the items that can be labelled.
        asked: rows of the items that never are.
        users: rows of those who are asked.
    """

    purchases: sp.csr_matrix
    space: Floats
    view: ItemView
    kernel: KernelSettings
    regularization: float
    pool: Rows
    asked: Rows
    users: Rows

    @classmethod
    def of(cls, prepared: PreparedShop, *, seed: int) -> Asking:
        """A hand of a hash of the seed is asked for, variants of one product together."""
        options, shop, _, view, kernel = prepared
        purchases = shop.everything.purchases()
        sold = purchases.getnnz(axis=0) > 0
        ids = np.array([b"%d:%b" % (seed, item) for item in shop.table.ids], object)
        is_asked = dealt(ids, shop.groups, _HANDS) == 0
        asked = np.flatnonzero(sold & is_asked)
        users = np.flatnonzero(purchases[:, asked].getnnz(axis=1))
        if len(users) > _USERS:
            users = np.random.default_rng(seed).choice(users, _USERS, replace=False)
        features = item_features(tf.constant(view.text), tf.constant(shop.table.lexical)).numpy()
        tower = ItemTower(
            features,
            size=options.model.embedding_size,
            price_buckets=options.features.price_buckets,
        )
        return cls(
            purchases=purchases,
            space=tower(features, shop.table.price_bucket).numpy(),
            view=view,
            kernel=kernel,
            regularization=options.model.teacher_regularization,
            pool=np.flatnonzero(sold & ~is_asked),
            asked=asked,
            users=users,
        )

    def compare(self, begin: float, random: np.random.Generator) -> list[tuple[float, float]]:
        """Recall of random choice and of the plan at each of `SHARES`."""
        order = random.permutation(self.pool)
        known, others = np.split(order, [round(begin * len(order))])
        known = np.sort(known)
        counts = [round(share * len(order)) for share in SHARES]
        plan = plan_labels(*self.placed(others, known), max(counts))
        return [
            (
                self.recall(np.concatenate([known, others[:count]])),
                self.recall(np.concatenate([known, others[plan.row[:count]]])),
            )
            for count in counts
        ]

    def placed(self, candidates: Rows, labelled: Rows) -> tuple[Placed, Placed]:
        """Both in the space, with the demand that the labelled ones let expect of the others."""
        launch = SimulatedLaunch.hide(
            self.purchases, targets=candidates, anchors=labelled,
            regularization=self.regularization,
        )  # fmt: skip
        weights = AlignedLaunch.align(launch, self.view, self.kernel).weights
        return (
            Placed(self.space[candidates], launch.log_popularity @ weights),
            Placed(self.space[labelled], launch.log_popularity),
        )

    def recall(self, labelled: Rows) -> float:
        """Recall@20 of the asked items once some others are labelled."""
        launch = SimulatedLaunch.hide(
            self.purchases, targets=self.asked, anchors=np.sort(labelled),
            regularization=self.regularization,
        )  # fmt: skip
        wanted = launch.wanted[self.users]
        return inherited_recall(launch, self.users, wanted, self.view, self.kernel)


def labels_needed(random: Sequence[float], planned: Sequence[float]) -> list[float]:
    """With which share of the labels of random choice the plan has its recall.

    Between two measured shares a straight line is taken. NaN where the plan never has it, and for
    no labels at all.
    """
    best = np.maximum.accumulate(planned)
    return [
        float(np.interp(wanted, best, SHARES, right=np.nan)) / share if share else float("nan")
        for share, wanted in zip(SHARES, random, strict=True)
    ]


def _print(console: Any, asking: Asking, curve: Doubles, begin: float) -> None:
    random, planned = curve.mean(axis=0).T
    table = new_table("labelled items", "random", "planned", "labels needed")
    for share, one, other, needed in zip(
        SHARES, random, planned, labels_needed(random, planned), strict=True
    ):
        table.add_row(
            f"{round(share * len(asking.pool)):,}", f"{one:.3f}", f"{other:.3f}",
            "" if np.isnan(needed) else f"{needed:.0%}",
        )  # fmt: skip
    known = round(begin * len(asking.pool))
    print_table(
        console,
        f"Recall@{PLACES} of {len(asking.asked):,} new items, {known:,} others known before",
        table,
    )
