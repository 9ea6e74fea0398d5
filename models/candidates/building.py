"""Builds the index of a shelf, and puts what changed on the shelf into it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.cluster.vq as vq

from models.candidates.columns import MOST, POPULAR, CandidateIndex, no_index
from models.candidates.encoding import Coder, Encoded
from models.candidates.factors import fit_factors, lent_weights
from models.inheritance import Inheritance
from models.kernel import Floats
from models.options import IndexOptions

Rows = npt.NDArray[np.int64]
# What is sampled: users and items to which factors are fitted, and items of a list.
_USERS: Final = 2048
_ITEMS: Final = 1 << 14
_PER_LIST: Final = 40
_ROUNDS: Final = 5
_SEED: Final = 1


def build_index(
    inheritance: Inheritance,
    options: IndexOptions,
    *,
    bought: npt.NDArray[np.int32],
    offset: npt.NDArray[np.int64],
    beam_args: Sequence[str],
    scratch: Path | None = None,
) -> CandidateIndex:
    """Index all items of a catalogue but the anchors.

    Args:
        inheritance: what is served of it.
        options: how many lists, and how much of them is looked at.
        bought: int32 [N], rows of purchases, user by user.
        offset: int64 [U + 1], where each user's part of them begins.
        beam_args: of the pipeline that encodes the items.
        scratch: a folder that every Beam worker can read and write; None for this machine's own.

    Returns:
        The columns; those of `no_index` where every item is an anchor.
    """
    random = np.random.default_rng(_SEED)
    rows = _heirs(inheritance, np.arange(len(inheritance.source)))
    if not len(rows):
        return no_index()
    lent = lent_weights(inheritance, rows)
    sample = random.permutation(len(rows))
    scores = _sampled_scores(inheritance, bought, offset, random)
    factors = fit_factors(scores, lent[np.sort(sample[:_ITEMS])])
    lists = min(options.lists_in(len(rows)), len(rows))
    codes = (lent[np.sort(sample[: lists * _PER_LIST])] @ factors.item).astype(np.float32)
    centre, _ = vq.kmeans2(
        codes, lists, iter=_ROUNDS, minit="points", seed=random, check_finite=False
    )
    step = np.maximum(np.abs(codes).max(axis=0), np.finfo(np.float32).tiny * MOST) / MOST
    coder = Coder(factors.item, centre, step.astype(np.float32))
    # Beam takes longer to import than a few changes of an index take.
    from models.candidates.beam_encoding import encode_by_beam

    with tempfile.TemporaryDirectory(prefix=".indexing-", dir=scratch) as folder:
        encoded = encode_by_beam(coder, lent, scratch=Path(folder), beam_args=beam_args)
    return CandidateIndex(
        user_factor=factors.user,
        **coder._asdict(),
        **_in_lists(rows, encoded, len(centre)),
        popular=_popular(inheritance.fallback),
        scanned=np.array([options.scanned], np.int32),
    )


def read_inheritance(shelf: Any) -> Inheritance:
    """What the shelf of a loaded SavedModel serves."""
    return Inheritance(
        **{field.name: getattr(shelf.served, field.name).numpy() for field in fields(Inheritance)}
    )


def read_index(shelf: Any) -> CandidateIndex:
    """The index of the shelf of a loaded SavedModel."""
    return CandidateIndex(
        **{field.name: getattr(shelf.index, field.name).numpy() for field in fields(CandidateIndex)}
    )


def reindexed(shelf: Any, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """The index of a loaded SavedModel's shelf after some rows came to it, or changed.

    Centres and factors stay as they are; a row's list is the one with the nearest centre.

    Args:
        shelf: with the changes.
        rows: int64 [N].

    Returns:
        New columns by name, none where the shelf has no index.
    """
    # A model that an older Debut trained has no such columns.
    if not hasattr(shelf, "index") or not len((index := read_index(shelf)).row):
        return {}
    inheritance = read_inheritance(shelf)
    rows = _heirs(inheritance, np.unique(rows))
    stays = ~np.isin(index.row, rows)
    coder = Coder(index.item_factor, index.centre, index.step)
    added = coder(lent_weights(inheritance, rows))
    together = Encoded(
        np.concatenate([index.code[stays], added.code]),
        np.concatenate([lists_of(index)[stays], added.of]),
    )
    columns = _in_lists(np.concatenate([index.row[stays], rows]), together, len(index.centre))
    columns["popular"] = _popular(inheritance.fallback)
    return {f"index.{name}": column for name, column in columns.items()}


def lists_of(index: CandidateIndex) -> npt.NDArray[np.int32]:
    """The number of the list of each code: int32 [N]."""
    return np.repeat(np.arange(len(index.centre), dtype=np.int32), np.diff(index.offset))


def _heirs(inheritance: Inheritance, rows: Rows) -> Rows:
    """Those of the rows that are no anchors."""
    return rows[inheritance.source[rows] >= len(inheritance.anchor_teacher)]


def _sampled_scores(
    inheritance: Inheritance,
    bought: npt.NDArray[np.int32],
    offset: npt.NDArray[np.int64],
    random: np.random.Generator,
) -> Floats:
    """The anchors' scores of a sample of users: float32 [U, A]."""
    teacher, users = inheritance.anchor_teacher, len(offset) - 1
    sample = np.sort(random.choice(users, min(users, _USERS), replace=False))
    scores = np.zeros((len(sample), len(teacher)), np.float32)
    for place, user in enumerate(sample):
        source = inheritance.source[bought[offset[user] : offset[user + 1]]]
        scores[place] = teacher[source[source < len(teacher)]].sum(axis=0)
    return scores


def _in_lists(rows: Rows, encoded: Encoded, lists: int) -> dict[str, npt.NDArray[Any]]:
    order = np.argsort(encoded.of, kind="stable")
    sizes = np.bincount(encoded.of, minlength=lists)
    return {
        "offset": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        "row": rows[order].astype(np.int32),
        "code": encoded.code[order],
    }


def _popular(fallback: Floats) -> npt.NDArray[np.int32]:
    return np.argsort(-fallback, kind="stable")[:POPULAR].astype(np.int32)
