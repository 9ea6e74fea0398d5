"""Goes back to an earlier version, or lets a canary take over: pushes and labels, nothing trained.

A rollback pushes the earlier version's content once more, under the newest number. So every server
that polls follows, version numbers never go back, and what was served when stays readable.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from components.lineage import (
    INSTEAD_OF,
    REASON,
    ROLLBACK,
)
from components.metadata_store import open_store
from components.recording import record_promotion
from components.version_folder import promote
from models.errors import BadInput
from models.rules import Rules
from pipeline.changes.derived import push_made_of
from pipeline.layout import metadata_file, serving_folder
from pipeline.newest import newest_version
from serving.version_labels import STABLE, read_labels, versions_on_disk


class RolledBack(NamedTuple):
    """What `roll_back` did.

    Attributes:
        version: folder of the new version.
        base: folder of the version whose content it has.
        instead_of: versions that had a label before.
        has_dates: whether it has rules with dates, which are as of when it was made.
    """

    version: Path
    base: Path
    instead_of: tuple[int, ...]
    has_dates: bool


def roll_back(root: Path, version: str, *, reason: str, newest: int | None = None) -> RolledBack:
    """Push the content of `version` again, as the stable version; a canary is dropped.

    Args:
        root: the run's.
        version: to go back to.
        reason: why; kept in ML Metadata.
        newest: the version that was the newest when this was decided; None for this moment.

    Raises:
        BadInput: there is no such version, or it is what is served, or the reason is none.
        Refused: another version than `newest` is the newest by now.
    """
    if not reason.strip():
        raise BadInput("No reason is given. Say why, so that the next person knows.")
    _check_text(reason)
    serving = serving_folder(root)
    served = newest_version(serving)
    base = serving / version
    if not version.isdigit() or not (base / "saved_model.pb").is_file():
        known = ", ".join(map(str, versions_on_disk(serving)))
        raise BadInput(
            f"There is no version {version!r} under {serving}. There are {known}; "
            f"`debut versions --root {shlex.quote(str(root))}` says what they are."
        )
    labels = read_labels(serving)
    if base == served and labels[STABLE] == int(version):
        raise BadInput(f"Version {version} is the newest and stable already; nothing to go back.")
    instead_of = tuple(sorted(set(labels.values())))
    pushed = push_made_of(
        base, base, root=root, kind=ROLLBACK,
        details={REASON: reason, INSTEAD_OF: ",".join(map(str, instead_of))},
        # What came after the labels were read would be dropped without being named.
        after=int(served.name) if newest is None else newest,
    )  # fmt: skip
    rules = Rules.load(base)
    return RolledBack(pushed, base, instead_of, has_dates=bool(rules and rules.dates))


def promote_canary(root: Path, *, reason: str, meant: int | None = None) -> int:
    """Give the canary the label `stable`.

    Args:
        root: the run's.
        reason: why; kept in ML Metadata.
        meant: the version that was the canary when this was decided; None where any may be.

    Returns:
        Its version.

    Raises:
        BadInput: there is no canary, or nothing was pushed, or the reason is no text.
        Refused: another version than `meant` is the canary by now, or none.
    """
    _check_text(reason)
    serving = serving_folder(root)
    newest_version(serving)

    def record(version: Path, _: str) -> None:
        record_promotion(open_store(metadata_file(root)), int(version.name), reason)

    version = promote(serving, record=record, meant=meant)
    if version is None:
        raise BadInput(
            f"No version under {serving} is a canary. Give the `debut run` that pushes into this "
            "root once more, with `--set push.canary=true`."
        )
    return version


def _check_text(reason: str) -> None:
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"The reason {reason!r} is no Unicode text. Write it in the encoding of the terminal."
        ) from error
