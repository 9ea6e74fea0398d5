"""Takes new products, first interactions and withdrawals into the newest pushed model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from components.catalogue.update import Change, Updated, update
from components.ingestion.set_aside import SetAside
from components.lineage import ITEMS_ADD, ITEMS_REFRESH, ITEMS_REMOVE
from components.shelf_change import Check
from pipeline.changes.candidate import Candidate
from pipeline.changes.changing import Made, push_changed
from pipeline.layout import set_aside_folder
from pipeline.pushed import read_terms
from serving.on_disk import write_at_once


class Pushed(NamedTuple):
    """What `change_items` did.

    Attributes:
        made: the version.
        updated: what was changed.
        set_aside_file: where the rows are listed that could not be used, None without any.
    """

    made: Made
    updated: Updated
    set_aside_file: Path | None


def change_items(candidate: Candidate, change: Change, *, beam_args: Sequence[str] = ()) -> Pushed:
    """Change the newest version under a root, and push the result.

    Args:
        candidate: that is to be made.
        change: what is to change.
        beam_args: of the pipeline that describes many products.

    Raises:
        BadInput: a file can't be used.
        Refused: the gate or the infra validation refused the new version, or another one was
            pushed meanwhile, by a run or a rollback; nothing was pushed.
    """

    def changed(base: Path, made: Path) -> tuple[Updated, Check]:
        return update(
            base, change, read_terms(candidate.root, base), candidate=made, beam_args=beam_args
        )  # fmt: skip

    made, updated = push_changed(
        candidate,
        changed,
        kind=_kind(change),
        told=lambda done: _told(change, done),
        noted=lambda done, version: _list(done.set_aside, _file(candidate.root, version)),
    )
    listed = _file(candidate.root, made.version) if updated.set_aside else None
    return Pushed(made, updated, listed)


def _kind(change: Change) -> str:
    if change.items or change.interactions:
        return ITEMS_ADD
    return ITEMS_REMOVE if any(change) else ITEMS_REFRESH


def _told(change: Change, updated: Updated) -> dict[str, str]:
    """What ML Metadata notes: the files' names, and what was done where it was anything."""
    files = {
        name: file.name for name in ("items", "interactions") if (file := getattr(change, name))
    }
    done = {"taken_in": updated.interactions} | {
        name: getattr(updated, name) for name in ("added", "realigned", "embedded", "withdrawn")
    }
    return files | {name: str(count) for name, count in done.items() if count}


def _file(root: Path, version: Path) -> Path:
    return set_aside_folder(root) / f"{version.name}.jsonl"


def _list(rows: list[SetAside], file: Path) -> None:
    if rows:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_at_once(file, "".join(f"{row.to_json()}\n" for row in rows))
