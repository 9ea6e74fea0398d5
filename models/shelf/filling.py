"""Fills the shelf with a whole catalogue, new products included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf

from models.arrays import Floats, Rows
from models.candidates.columns import no_index
from models.exploration.exploration import no_exploration
from models.exposure.balancing import evened_out
from models.few_shot.clock import ShopClock
from models.few_shot.evidence import lent_matrix, no_evidence
from models.inheritance.aligner import Aligner
from models.inheritance.anchors import Inheritance, inherit
from models.inheritance.kernel import ItemKernel, ItemView, KernelSettings
from models.inheritance.quality import Ratings, fit_quality
from models.inheritance.simulation import SimulatedLaunch, most_popular
from models.interactions import Profiles, Purchases
from models.item_table import ItemTable
from models.options import ModelOptions
from models.rules import Ruled
from models.shelf.admission import Admission
from models.shelf.buyers import index_buyers
from models.shelf.id_index import sort_ids
from models.shelf.shelf import STORED, ShelfData
from models.two_tower import TwoTower

_BATCH = 1024


@dataclass(frozen=True)
class Heirs:
    """A catalogue of I items, of which each is to inherit from the seen ones.

    Attributes:
        view: as the kernel sees it.
        embedding: float32 [I, D].
        per_item: anchors that an item keeps.
        rules: what rules say of the items, None without any.
        strength: with which the exposure of items without interactions is evened out.
    """

    view: ItemView
    embedding: Floats
    per_item: int
    rules: Ruled | None
    strength: float

    def inherit(
        self, known: SimulatedLaunch, aligner: Aligner, *, quality: Floats,
        popularity: npt.NDArray[np.int64], covered: npt.NDArray[np.bool_],
        offered: npt.NDArray[np.bool_],
    ) -> Inheritance:  # fmt: skip
        """What they inherit, and with which demand they begin.

        Args:
            known: a launch that hides nothing.
            aligner: of its anchors.
            quality: float32 [I].
            popularity: int64 [I], users of each item.
            covered: bool [I], which items inherit.
            offered: bool [I], which may be recommended.
        """
        inheritance = inherit(
            known, self.view, aligner,
            embedding=self.embedding,
            quality=quality,
            popularity=popularity,
            covered=covered,
            offered=offered,
            per_item=self.per_item,
            rules=self.rules,
        )  # fmt: skip
        new = np.flatnonzero((popularity == 0) & covered)
        inheritance.demand[new] = evened_out(
            known.history,
            known.teacher,
            lent_matrix(*inheritance.lists(new), len(known.anchors)).T.tocsr(),
            inheritance.reference_weight,
            self.strength,
        )
        return inheritance


def fill_shelf(
    model: TwoTower,
    table: ItemTable,
    features: Floats,
    view: ItemView,
    settings: KernelSettings,
    *,
    train: Ratings,
    train_quality: Floats,
    everything: Ratings,
    purchases: Purchases,
    clock: ShopClock,
    user_ids: npt.NDArray[np.object_],
    profiles: Profiles,
    options: ModelOptions,
    span: npt.NDArray[np.int32],
    rules: Ruled | None = None,
    strength: float = 0.0,
    small: bool = False,
) -> tuple[ShelfData, Admission]:
    """Run the item tower over the whole catalogue, new products included.

    Args:
        model: trained towers.
        table: the catalogue.
        features: float32 [I, F] of `item_features`.
        view: the catalogue as the kernel sees it.
        settings: of the kernel.
        train: interactions of the train split.
        train_quality: float32 [I], `models.inheritance.quality.item_quality` of those.
        everything: those of all splits.
        purchases: of all splits, in order.
        clock: of the shop.
        user_ids: bytes [U].
        profiles: of U users.
        options: widths.
        span: int32 [I], of each item's first interaction.
        rules: what rules say of the catalogue, None without any.
        strength: with which the exposure of items without interactions is evened out.
        small: whether co-purchase scores are rounded as a small model keeps them.

    Returns:
        The columns, without an index, and what gives a later product its own.
    """
    embedding = _embedded(model, features, table)
    judging, serving = (_all_known(part, options, small=small) for part in (train, everything))
    among = _kernel_among([serving.anchors, judging.anchors], view, settings)
    heirs = Heirs(view, embedding, options.anchors_in(len(table)), rules, strength)
    aligner = Aligner.of(serving, view, settings, among(serving.anchors))
    fitted = fit_quality(
        everything, view, settings, np.arange(len(table)), max_anchors=options.max_anchors
    )
    everything_there = np.ones(len(table), np.bool_)
    served = heirs.inherit(
        serving, aligner,
        quality=fitted.items,
        popularity=_popularity(everything),
        covered=everything_there,
        offered=table.available if rules is None else table.available & rules.allowed,
    )  # fmt: skip
    judged = heirs.inherit(
        judging, Aligner.of(judging, view, settings, among(judging.anchors)),
        quality=train_quality,
        popularity=_popularity(train),
        covered=~table.is_new,
        offered=everything_there,  # it is ranked as well
    )  # fmt: skip
    evidence, choices = no_evidence(served, serving, clock, embedding_size=embedding.shape[1])
    fingerprint, row = sort_ids(table.ids)
    columns = ShelfData(
        item_id=table.ids,
        item_name=table.name,
        id_fingerprint=fingerprint,
        id_row=row,
        embedding=embedding.astype(STORED),
        is_new=table.is_new,
        is_cold=table.is_cold,
        available=table.available,
        span=span,
        user_id=user_ids,
        user_profile=profiles.of,
        profile=model.profile(tf.constant(profiles.encoded)).numpy(),
        user_items=purchases.item,
        user_rating=purchases.rating,
        user_offset=purchases.offset,
        served=served,
        judged=judged.to_judge(),
        evidence=evidence,
        buyers=index_buyers(
            purchases.item,
            purchases.offset,
            source=served.source,
            index=served.anchor_index,
            weight=served.anchor_weight,
            teacher=served.anchor_teacher,
            reference=served.reference_weight,
        ),
        rules=rules,
        exploration=no_exploration(),
        index=no_index(),
    )
    return columns, Admission(
        aligner=aligner, quality_weight=fitted.weight, choices=choices, items=len(table)
    )


def anchors_of(purchases: sp.csr_matrix, options: ModelOptions) -> Rows:
    """The most popular of all seen items, which others inherit from on the shelf."""
    popularity = purchases.getnnz(axis=0)
    return most_popular(popularity, popularity > 0, options.max_anchors)


def _embedded(model: TwoTower, features: Floats, table: ItemTable) -> Floats:
    parts = [
        model.items(features[s : s + _BATCH], table.price_bucket[s : s + _BATCH]).numpy()
        for s in range(0, len(table), _BATCH)
    ]
    return np.concatenate(parts)


def _popularity(ratings: Ratings) -> npt.NDArray[np.int64]:
    """Users of each item: int64 [I]."""
    users: npt.NDArray[np.int64] = ratings.purchases().getnnz(axis=0).astype(np.int64)
    return users


def _all_known(ratings: Ratings, options: ModelOptions, *, small: bool) -> SimulatedLaunch:
    """A launch that hides nothing."""
    purchases = ratings.purchases()
    known = SimulatedLaunch.hide(
        purchases,
        targets=np.zeros(0, np.int64),
        anchors=anchors_of(purchases, options),
        regularization=options.teacher_regularization,
    )
    # All that is computed from the scores is so computed from those that are served.
    return known.small() if small else known


def _kernel_among(
    anchors: Sequence[Rows], view: ItemView, settings: KernelSettings
) -> Callable[[Rows], Floats]:
    """Gives the kernel of each of these sets of anchors; most are in all of them."""
    rows = np.unique(np.concatenate(anchors))
    together = ItemKernel(view, settings)(view.rows(rows), view.rows(rows))

    def among(some: Rows) -> Floats:
        places = np.searchsorted(rows, some)
        kernel: Floats = together[np.ix_(places, places)]
        return kernel

    return among
