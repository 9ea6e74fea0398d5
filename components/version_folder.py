"""The folder of the versions that model servers poll: how a version gets in, and out again.

Everything that changes it holds a lock, so two pushes never take the same number, and what lies
half-written beside the versions is known to be left over from a push that was killed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from components.locks import held
from components.whole_folders import clear, put_at_once, remove_at_once, written_beside
from models.errors import BadInput, Refused
from serving.version_labels import CANARY, STABLE, read_labels, versions_on_disk, write_labels

KEEP: Final = 10
"""Versions that are kept where nothing says how many."""


Record = Callable[[Path, str], None]
"""Notes that a version, given by its folder, gets a label: before anybody sees it.

What was killed in between is done by the same command once more, as if for the first time.
"""


def push(
    model: Path, base: Path, *, canary: bool = False, keep: int = KEEP,
    record: Record | None = None, after: int | None = None,
) -> Path:  # fmt: skip
    """Make `model` the newest version under `base`, and remove versions that are too old.

    The copy is written under a name that is no number, which model servers ignore, and renamed
    when it is complete. The version is the unix time in seconds, or one more than the newest.

    Args:
        model: a SavedModel's folder.
        base: the folder of the version folders.
        canary: give the version the label `canary` and leave `stable` where it is. Otherwise, and
            where there is no other version, it becomes `stable`, and no version is the canary.
        keep: how many of the newest versions stay; what a label names stays too.
        record: None where it is noted otherwise, as TFX does for its nodes.
        after: the version that was the newest when this was decided; None where any may be.

    Returns:
        The folder of the new version.

    Raises:
        Refused: another version than `after` is the newest by now.
    """
    with _locked(base):
        if after is not None:
            _require_newest(base, after)
        return _add(model, base, canary=canary, keep=keep, record=record)


def push_in_place_of(
    version: Path, model: Path, *, keep: int = KEEP, record: Record | None = None
) -> Path:
    """Push what was made of the newest version, which the new one takes the place of.

    Made of the canary it becomes the canary, else `stable`.

    Args:
        version: folder of the version that it was made of.
        model: a SavedModel's folder.
        keep: as in `push`.
        record: as in `push`.

    Returns:
        The folder of the new version.

    Raises:
        Refused: another version was pushed meanwhile, by a run or a rollback.
    """
    base = version.parent
    with _locked(base):
        _require_newest(base, int(version.name))
        # Without a label it is of a push that was killed: then no canary is promoted unasked.
        is_canary = label_of(version) != STABLE and CANARY in read_labels(base)
        return _add(model, base, canary=is_canary, keep=keep, record=record)


def promote(base: Path, *, record: Record | None = None, meant: int | None = None) -> int | None:
    """Make the canary the stable version.

    Args:
        base: the folder of the version folders.
        record: as in `push`.
        meant: the version that was the canary when this was decided; None where any may be.

    Returns:
        Its number; None where there is no canary.

    Raises:
        Refused: another version than `meant` is the canary by now, or none.
    """
    with _locked(base):
        canary = read_labels(base).get(CANARY)
        if meant not in (None, canary):
            raise Refused(
                f"Version {meant} under {base} is not the canary any more: that is "
                f"{canary or 'none'} now. Nothing was changed; look at it, then decide anew."
            )
        if canary is not None:
            if record is not None:
                record(base / str(canary), STABLE)
            write_labels(base, {STABLE: canary})
    return canary


def refresh_labels(base: Path) -> Path:
    """Write the labels' file for where the root lies now and what is there, and return it.

    It takes no lock, so that a server can start where nobody may write and nothing is to be
    written. A push that goes on meanwhile writes the file again.

    Raises:
        BadInput: something is to be written, and can't be.
    """
    try:
        return write_labels(base, read_labels(base))
    except OSError as error:
        raise BadInput(
            f"{base.parent} can't be written ({error.strerror}), and its models.config names the "
            "versions by another path. Give that path, or a folder that can be written."
        ) from error


def label_of(version: Path) -> str:
    """`canary` or `stable`, or an empty text for a version without a label."""
    labels = read_labels(version.parent)
    return next((label for label, number in labels.items() if str(number) == version.name), "")


def _locked(base: Path) -> AbstractContextManager[None]:
    """Alone among the processes that change the folder."""
    return held(base.parent / f".{base.name}.lock")


def _require_newest(base: Path, version: int) -> None:
    newest = versions_on_disk(base)[:1]
    if newest != [version]:
        raise Refused(
            f"Another version was pushed to {base} after {version}. Nothing was pushed; look at "
            "it, then do the same again."
        )


def _add(model: Path, base: Path, *, canary: bool, keep: int, record: Record | None) -> Path:
    """What `push` says, for who holds the lock."""
    clear(base)
    with written_beside(base) as copy:
        shutil.copytree(model, copy)
        labels = read_labels(base)
        newest = max(versions_on_disk(base), default=0)
        number = max(int(time.time()), newest + 1)
        version = base / str(number)
        is_canary = canary and bool(labels)
        if record is not None:
            record(version, CANARY if is_canary else STABLE)
        put_at_once(copy, version)
    labels = {STABLE: labels[STABLE], CANARY: number} if is_canary else {STABLE: number}
    write_labels(base, labels)
    _prune(base, keep=keep, spared=set(labels.values()))
    return version


def _prune(base: Path, *, keep: int, spared: set[int]) -> None:
    for number in versions_on_disk(base)[keep:]:
        if number not in spared:
            remove_at_once(base / str(number))
