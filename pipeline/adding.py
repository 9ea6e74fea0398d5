"""Takes new products, first interactions and withdrawals into the newest pushed model.

The same as after a run: a gate, an infra validation on a real server, and one atomic push. Nothing
is traced or trained.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from components.catalogue.gate import Answers, Served
from components.catalogue.update import Change, Updated, update
from components.embedded_server import embedded_server
from components.ingestion.set_aside import SetAside
from components.lineage import ITEMS_ADD
from models.errors import DebutError, Refused
from pipeline.config import load_configuration
from pipeline.derived import push_made_of
from pipeline.layout import MODEL_NAME, metadata_file, serving_folder, set_aside_folder
from pipeline.lock import one_at_a_time
from pipeline.pushed import newest_version, read_terms
from serving.client import Client

_LOAD_SECONDS: Final = 300.0
_ANSWER_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


class Pushed(NamedTuple):
    """A version that was made of another one.

    Attributes:
        version: its folder.
        base: folder of the version it was made of.
        updated: what was done.
        set_aside_file: where the rows are listed that could not be used, None without any.
    """

    version: Path
    base: Path
    updated: Updated
    set_aside_file: Path | None


def change_items(root: Path, change: Change, *, waiting: Callable[[], None]) -> Pushed:
    """Change the newest version under a root, and push the result.

    Args:
        root: that `debut run` was given.
        change: what is to change.
        waiting: called where another process is changing the root's items; this one waits.

    Raises:
        BadInput: a file can't be used, or nothing was pushed under `root`.
        Refused: the gate or the infra validation refused the new version, or a run has pushed
            another one meanwhile; nothing was pushed.
    """
    serving = serving_folder(root.resolve())
    newest_version(serving)
    with (
        one_at_a_time(root, waiting),
        tempfile.TemporaryDirectory(prefix="debut-") as scratch,
    ):
        base = newest_version(serving)
        candidate = Path(scratch) / MODEL_NAME / "1"
        terms = read_terms(metadata_file(root.resolve()))
        updated, check = update(
            base, change, terms, candidate=candidate,
            beam_args=load_configuration(None, ()).run.beam_args,
        )  # fmt: skip
        _validate(candidate, check)
        if newest_version(serving) != base:
            raise Refused(
                f"A run has pushed another version while {base.name} was being changed. Nothing "
                "was pushed; give the command again."
            )
        version = push_made_of(
            base, candidate, root=root, kind=ITEMS_ADD, details=_told(change, updated)
        )
    return Pushed(version, base, updated, _write(updated.set_aside, root, version))


def _told(change: Change, updated: Updated) -> dict[str, str]:
    """What ML Metadata notes: the files' names, and what was done where it was anything."""
    files = {
        name: file.name for name in ("items", "interactions") if (file := getattr(change, name))
    }
    done = {"taken_in": updated.interactions} | {
        name: getattr(updated, name) for name in ("added", "realigned", "embedded", "withdrawn")
    }
    return files | {name: str(count) for name, count in done.items() if count}


def _validate(candidate: Path, check: Callable[[Answers], None]) -> None:
    """Load the candidate in a model server, which replays the warm-up requests, and ask it.

    Raises:
        Refused: it does not load or does not answer as it has to.
    """
    try:
        with _served(candidate.parent) as client:
            check(Served(client))
    except Refused:
        raise
    except DebutError as error:
        raise Refused(
            f"Infra validation refused the new version: {error} Nothing was pushed."
        ) from error


@contextmanager
def _served(folder: Path) -> Iterator[Client]:
    """A client of an embedded server on the versions in a folder."""
    deadline = time.time() + _LOAD_SECONDS
    with (
        embedded_server(folder, MODEL_NAME, deadline=deadline) as address,
        Client(address, timeout=_ANSWER_SECONDS) as client,
    ):
        while (status := client.status()[0]).state != "AVAILABLE":
            if status.state == "END" or time.time() > deadline:
                raise DebutError(f"a model server did not load it: {status.error}")
            time.sleep(_POLL_SECONDS)
        yield client


def _write(rows: list[SetAside], root: Path, version: Path) -> Path | None:
    if not rows:
        return None
    file = set_aside_folder(root) / f"{version.name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row._asdict(), ensure_ascii=False) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file
