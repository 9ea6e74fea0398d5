"""Makes a version of the newest one under a root without training, validates and pushes it.

The same as after a run: a gate, an infra validation on a real server, and one atomic push.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from components.catalogue.gate import Served
from components.embedded_server import Started
from components.shelf_change import Check
from models.errors import DebutError, Refused
from pipeline.changes.candidate import NUMBER, Candidate
from pipeline.changes.derived import push_made_of
from serving.client import Client

Done = TypeVar("Done")

_LOAD_SECONDS: Final = 300.0
_ANSWER_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


class Made(NamedTuple):
    """A version that was made of another one.

    Attributes:
        version: its folder.
        base: folder of the version it was made of.
    """

    version: Path
    base: Path


def push_changed(
    candidate: Candidate,
    change: Callable[[Path, Path], tuple[Done, Check]],
    *,
    kind: str,
    told: Callable[[Done], Mapping[str, str]],
    noted: Callable[[Done, Path], None] = lambda *_: None,
) -> tuple[Made, Done]:
    """Change the newest version under a root, and push the result.

    Args:
        candidate: that is to be made.
        change: given the folders of that version and of the new one, writes it, and returns what
            it did and what a server of it has to answer.
        kind: of the push, see `components.lineage`.
        told: what ML Metadata notes of it.
        noted: given what `change` did and the version's folder, writes down what else belongs to
            it, before anybody sees it; where that fails, nothing is pushed.

    Raises:
        BadInput: `change` could not use a file.
        Refused: a gate or the infra validation refused the new version, or another one was
            pushed meanwhile, by a run or a rollback; nothing was pushed.
    """
    base = candidate.base
    done, check = change(base, candidate.made)
    candidate.made.rename(candidate.tried)
    _validate(candidate.server, check)
    version = push_made_of(
        base, candidate.tried, root=candidate.root, kind=kind, details=told(done),
        noted=lambda version: noted(done, version),
    )  # fmt: skip
    return Made(version, base), done


def _validate(server: Started, check: Check) -> None:
    """Ask a model server that loads the candidate and replays the warm-up requests.

    Raises:
        Refused: it does not load or does not answer as it has to.
    """
    deadline = time.time() + _LOAD_SECONDS
    try:
        with Client(server.address(deadline=deadline), timeout=_ANSWER_SECONDS) as client:
            _wait_until_loaded(client, deadline)
            check(Served(client))
    except Refused:
        raise
    except DebutError as error:
        raise Refused(
            f"Infra validation refused the new version: {error} Nothing was pushed."
        ) from error


def _wait_until_loaded(client: Client, deadline: float) -> None:
    while (status := client.status()[0]).version != NUMBER or not status.is_available:
        is_over = status.version == NUMBER and status.state == "END"
        if is_over or time.time() > deadline:
            raise DebutError(f"a model server did not load it: {status.error}")
        time.sleep(_POLL_SECONDS)
