"""A pushed model with a shelf of any size: real towers and users, generated items behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers ops of the graph)

from models.errors import BadInput
from models.id_index import sort_ids
from models.options import SMALL

_SEED: Final = 7
_BLOCK: Final = 1 << 16


def with_items(model: Path, target: Path, items: int) -> Path:
    """Save `model` again with `items` items, the catalogue's own first.

    A generated item is a mixture of two real ones, so that scores spread as they do in a shop; it
    inherits as the first of them does, a real new product.

    Args:
        model: folder of a pushed version.
        target: folder to write, which must not exist.
        items: at least as many as the catalogue has.
    """
    loaded = tf.saved_model.load(str(model))
    own = int(tf.size(loaded._shelf.item_id))
    if items < own:
        raise BadInput(f"The catalogue has {own} items, more than the {items} to generate.")
    _extend(loaded._shelf, own, items - own)
    tf.saved_model.save(loaded, str(target), signatures=loaded.signatures)
    return target


def _extend(shelf: Any, own: int, more: int) -> None:
    if own <= SMALL < own + more:
        _shorten_lists(shelf)
    random = np.random.default_rng(_SEED)
    _append(
        shelf.item_id, lambda _: np.array([b"generated-%d" % row for row in range(more)], object)
    )
    _append(shelf.item_name, lambda _: np.full(more, b"generated", object))
    fingerprint, row = sort_ids(shelf.item_id.numpy())
    shelf.id_fingerprint.assign(fingerprint)
    shelf.id_row.assign(row)
    anchors = len(shelf.served.anchor_teacher.numpy())
    heirs = np.flatnonzero(shelf.served.source.numpy() >= anchors)
    first, second = random.choice(heirs, more), random.integers(0, own, more)
    for inherited in (shelf.served, shelf.judged):
        for name in ("demand", "quality", "log_popularity", "fallback"):
            _append(getattr(inherited, name), lambda column: column[first])
    _extend_lists(shelf.served, first)
    blank = len(shelf.judged.anchor_teacher.numpy())
    _append(shelf.judged.source, lambda column: np.full(more, blank, column.dtype))
    _append(shelf.evidence.of, lambda column: np.full(more, -1, column.dtype))
    _append(shelf.evidence.expected_share, lambda column: column[first])
    _append(shelf.buyers.offset, lambda column: np.full(more, column[-1]))
    for flags in (shelf.is_new, shelf.is_cold, shelf.available):
        _append(flags, lambda _: np.ones(more, bool))
    _append(shelf.span, lambda column: column[first])
    _append(shelf.embedding, lambda column: _mixed(column, first, second))


def _shorten_lists(shelf: Any) -> None:
    """Keep of each list the quarter that weighs most, as is kept in a large catalogue."""
    for inherited in (shelf.served, shelf.judged):
        index, weight = inherited.anchor_index.numpy(), inherited.anchor_weight.numpy()
        width = max(index.shape[1] // 4, 1)
        strongest = np.argsort(-np.abs(weight), axis=1, kind="stable")[:, :width]
        for column, values in (
            (inherited.anchor_index, index), (inherited.anchor_weight, weight),
        ):  # fmt: skip
            column.assign(np.take_along_axis(values, strongest, axis=1))
    for column in (shelf.evidence.lift, shelf.evidence.attention):
        column.assign(column.numpy()[:, :width])


def _extend_lists(inherited: Any, heirs: npt.NDArray[np.int64]) -> None:
    """For each new item a list of its own, the same as that of an item of the catalogue."""
    lists = inherited.source.numpy()[heirs]
    own = np.arange(len(heirs), dtype=np.int32) + len(inherited.anchor_index.numpy())
    for name in ("anchor_index", "anchor_weight"):
        _append(getattr(inherited, name), lambda column: column[lists])
    _append(inherited.source, lambda _: own)


def _append(variable: tf.Variable, make: Any) -> None:
    column = variable.numpy()
    variable.assign(np.concatenate([column, make(column)]))


def _mixed(
    column: npt.NDArray[np.float32], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    mixed = np.empty((len(first), column.shape[1]), np.float32)
    for start in range(0, len(first), _BLOCK):
        at = slice(start, start + _BLOCK)
        mixed[at] = 0.7 * column[first[at]] + 0.3 * column[second[at]]
        mixed[at] /= np.linalg.norm(mixed[at], axis=1, keepdims=True)
    return mixed
