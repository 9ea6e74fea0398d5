"""A pushed model with a shelf of any size: real towers, generated items or users."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers ops of the graph)

from models.candidates.building import build_index, read_inheritance
from models.errors import BadInput
from models.interactions import PAD
from models.options import SMALL
from models.shelf.buyers import index_buyers_on
from models.shelf.id_index import sort_ids
from pipeline.config import load_configuration

INDEX: Final = load_configuration().index
_SEED: Final = 7
_BLOCK: Final = 1 << 16


def in_a_process(
    make: Callable[..., Path], model: Path, target: Path, size: int, **options: bool
) -> None:
    """Call one of the two below in a process of its own, whose memory is free afterwards."""
    code = (
        f"import sys, pathlib; from {make.__module__} import {make.__name__}; "
        f"{make.__name__}(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3]), "
        f"**{options})"
    )
    subprocess.run([sys.executable, "-c", code, model, target, str(size)], check=True)


def with_items(model: Path, target: Path, items: int, *, exact: bool = False) -> Path:
    """Save `model` again with `items` items, the catalogue's own first.

    A generated item is a mixture of two real ones, so that scores spread as they do in a shop: 70 %
    of a real new product, 30 % of any other. So are the anchors that lend it their scores.
    A catalogue that is large enough gets an index.

    Args:
        model: folder of a pushed version.
        target: folder to write, which must not exist.
        items: at least as many as the catalogue has.
        exact: without an index all the same.
    """
    loaded = tf.saved_model.load(str(model))
    own = int(tf.size(loaded._shelf.item_id))
    if items < own:
        raise BadInput(f"The catalogue has {own} items, more than the {items} to generate.")
    _extend(loaded._shelf, own, items - own)
    if INDEX.is_indexed(items) and not exact:
        index_shelf(loaded._shelf)
    tf.saved_model.save(loaded, str(target), signatures=loaded.signatures)
    return target


def index_shelf(shelf: Any) -> None:
    """Build the index of a loaded model's shelf, as a run does, and say what that took."""
    start = time.perf_counter()
    index = build_index(
        read_inheritance(shelf), INDEX, beam_args=load_configuration().run.beam_args
    )
    for column in fields(index):
        getattr(shelf.index, column.name).assign(getattr(index, column.name))
    size = sum(getattr(index, column.name).nbytes for column in fields(index))
    click.echo(
        f"{(index.row != PAD).sum():,} postings put into {len(index.row):,} blocks of "
        f"{index.row.shape[1]} in {time.perf_counter() - start:.0f} s; the index takes "
        f"{size / 2**20:,.0f} MiB."
    )


def with_users(model: Path, target: Path, users: int) -> Path:
    """Save `model` again with an audience index of `users` users in place of its own.

    A generated user bought about 70 % of what one real user did, and 30 % of another's. Only what
    audiences look at is generated: profiles and ratings stay the real users'.

    Args:
        model: folder of a pushed version.
        target: folder to write, which must not exist.
        users: how many.
    """
    loaded = tf.saved_model.load(str(model))
    shelf = loaded._shelf
    items, offset = _histories(shelf.user_items.numpy(), shelf.user_offset.numpy(), users)
    buyers = index_buyers_on(shelf, items, offset)
    shelf.user_items.assign(items)
    shelf.user_offset.assign(offset)
    shelf.user_id.assign(np.array([b"user-%d" % user for user in range(users)], object))
    for column in fields(buyers):
        # A model that an older Debut trained has fewer columns.
        if hasattr(shelf.buyers, column.name):
            getattr(shelf.buyers, column.name).assign(getattr(buyers, column.name))
    tf.saved_model.save(loaded, str(target), signatures=loaded.signatures)
    return target


def _histories(
    items: npt.NDArray[np.int32], offset: npt.NDArray[np.int64], users: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Purchases of generated users, user by user, and where each one's begin."""
    random, size = np.random.default_rng(_SEED), int(items.max()) + 1
    lengths, kept = np.diff(offset), []
    for share in (0.7, 0.3):
        real = random.integers(0, len(lengths), users)
        user = np.repeat(np.arange(users, dtype=np.int64), lengths[real])
        first = np.cumsum(lengths[real]) - lengths[real]
        place = np.arange(len(user)) - first[user] + offset[real][user]
        chosen = random.random(len(user)) < share
        kept.append(user[chosen] * size + items[place[chosen]])
    pairs = np.unique(np.concatenate(kept))
    user = pairs // size
    return (pairs % size).astype(np.int32), np.searchsorted(user, np.arange(users + 1))


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
    _extend_lists(shelf.served, first, second)
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


def _extend_lists(
    inherited: Any, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> None:
    """For each new item a list of its own: of those of two items, what weighs most."""
    lists, source = len(inherited.anchor_index.numpy()), inherited.source.numpy()
    index, weight = inherited.anchor_index.numpy(), inherited.anchor_weight.numpy()
    mixed_index, mixed_weight = (
        np.empty((len(first), column.shape[1]), column.dtype) for column in (index, weight)
    )
    for start in range(0, len(first), _BLOCK):
        at = slice(start, start + _BLOCK)
        one, other = source[first[at]], source[second[at]]
        anchors = np.concatenate([index[one], index[other]], axis=1)
        weights = np.concatenate([0.7 * weight[one], 0.3 * weight[other]], axis=1)
        strongest = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, : index.shape[1]]
        mixed_index[at] = np.take_along_axis(anchors, strongest, axis=1)
        mixed_weight[at] = np.take_along_axis(weights, strongest, axis=1)
    inherited.anchor_index.assign(np.concatenate([index, mixed_index]))
    inherited.anchor_weight.assign(np.concatenate([weight, mixed_weight]))
    own = np.arange(len(first), dtype=np.int32) + lists
    _append(inherited.source, lambda _: own)


def _append(variable: tf.Variable, make: Any) -> None:
    column = variable.numpy()
    variable.assign(np.concatenate([column, make(column)]))


def _mixed(
    column: npt.NDArray[Any], first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    mixed = np.empty((len(first), column.shape[1]), column.dtype)
    for start in range(0, len(first), _BLOCK):
        at = slice(start, start + _BLOCK)
        one, other = (column[rows[at]].astype(np.float32) for rows in (first, second))
        both = 0.7 * one + 0.3 * other
        mixed[at] = both / np.linalg.norm(both, axis=1, keepdims=True)
    return mixed
