"""Builds the index of a shelf, and puts what changed on the shelf into it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Rows
from models.candidates.columns import HEAD, POPULAR, CandidateIndex, no_index
from models.candidates.heads import Heads, heads_of, posted
from models.companding import read_floats
from models.inheritance.anchors import Inheritance
from models.interactions import PAD
from models.options import IndexOptions

# Places of a block: about half of a list, within these bounds.
_NARROWEST: Final = 8
_WIDEST: Final = 128


def build_index(
    inheritance: Inheritance,
    options: IndexOptions,
    *,
    beam_args: Sequence[str],
    scratch: Path | None = None,
) -> CandidateIndex:
    """Index all items of a catalogue but the anchors.

    Args:
        inheritance: what is served of it.
        options: how much of the index is looked at.
        beam_args: of the pipeline that looks at the items.
        scratch: a folder that every Beam worker can read and write; None for this machine's own.

    Returns:
        The columns; those of `no_index` where every item is an anchor.
    """
    rows = heirs_among(inheritance, np.arange(len(inheritance.source)))
    if not len(rows):
        return no_index()
    # Beam takes longer to import than a few changes of an index take.
    from models.candidates.beam_heads import heads_by_beam

    with tempfile.TemporaryDirectory(prefix=".indexing-", dir=scratch) as folder:
        heads = heads_by_beam(inheritance, rows, scratch=Path(folder), beam_args=beam_args)
    return CandidateIndex(
        **_in_blocks(*posted(rows, heads)),
        popular=_popular(inheritance.fallback),
        scanned=np.array([options.scanned], np.int32),
    )


def read_inheritance(shelf: Any) -> Inheritance:
    """What the shelf of a loaded SavedModel serves."""
    return Inheritance(
        **{field.name: read_floats(shelf.served, field.name) for field in fields(Inheritance)}
    )


def read_index(shelf: Any) -> CandidateIndex:
    """The index of the shelf of a loaded SavedModel."""
    return CandidateIndex(
        **{field.name: getattr(shelf.index, field.name).numpy() for field in fields(CandidateIndex)}
    )


def reindexed(shelf: Any, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """The index of a loaded SavedModel's shelf after some rows came to it, or changed.

    It is the index that would be built from the shelf.

    Args:
        shelf: with the changes.
        rows: int64 [N].

    Returns:
        New columns by name, none where the shelf has no index.
    """
    # A model that an older Debut trained has no such columns, or other ones.
    if not hasattr(shelf, "index") or not len(shelf.index.row.numpy()):
        return {}
    index, inheritance = read_index(shelf), read_inheritance(shelf)
    rows = heirs_among(inheritance, np.unique(rows))
    stays = (index.row != PAD) & ~np.isin(index.row, rows)
    again, added = posted(rows, heads_of(*inheritance.lists(rows), inheritance.demand[rows]))
    together = Heads(
        np.concatenate([_kept(index.shared[:, np.newaxis], index.other, stays), added.anchor]),
        np.concatenate([_kept(index.own, index.weight, stays), added.weight]),
    )
    columns = _in_blocks(np.concatenate([index.row[stays], again]), together)
    columns["popular"] = _popular(inheritance.fallback)
    return {f"index.{name}": column for name, column in columns.items()}


def _kept(
    first: npt.NDArray[Any], others: npt.NDArray[Any], stays: npt.NDArray[np.bool_]
) -> npt.NDArray[Any]:
    """The heads [N, HEAD] of those places of the blocks that stay."""
    first = np.broadcast_to(first, stays.shape)[:, np.newaxis]
    heads: npt.NDArray[Any] = np.concatenate([first, others], axis=1).transpose(0, 2, 1)
    return heads[stays]


def heirs_among(inheritance: Inheritance, rows: Rows) -> Rows:
    """Those of the rows that are no anchors."""
    return rows[inheritance.source[rows] >= len(inheritance.anchor_teacher)]


def _in_blocks(rows: npt.NDArray[np.integer[Any]], heads: Heads) -> dict[str, npt.NDArray[Any]]:
    """The columns of the blocks of such postings."""
    # Rows decide between equal weights, so that changes lead where a build does.
    order = np.lexsort([rows, -heads.weight[:, 0], heads.anchor[:, 0]])
    anchors, begin, sizes = np.unique(heads.anchor[order, 0], return_index=True, return_counts=True)
    width = int(np.clip(len(rows) // (2 * len(sizes)), _NARROWEST, _WIDEST))
    blocks = -(-sizes // width)
    place = np.arange(len(rows)) - np.repeat(begin, sizes)
    block = np.repeat(np.cumsum(blocks) - blocks, sizes) + place // width
    shape, place = (blocks.sum(), width), place % width
    row, own = np.full(shape, PAD, np.int32), np.zeros(shape, np.float32)
    row[block, place] = rows[order]
    own[block, place] = heads.weight[order, 0]
    other = np.zeros((len(row), HEAD - 1, width), np.int32)
    weight = np.zeros(other.shape, np.float32)
    other[block, :, place] = heads.anchor[order, 1:]
    weight[block, :, place] = heads.weight[order, 1:]
    return {
        "shared": np.repeat(anchors, blocks).astype(np.int32),
        "most": own[:, 0],
        "row": row,
        "own": own,
        "other": other,
        "weight": weight,
    }


def _popular(fallback: Floats) -> npt.NDArray[np.int32]:
    return np.argsort(-fallback, kind="stable")[:POPULAR].astype(np.int32)
