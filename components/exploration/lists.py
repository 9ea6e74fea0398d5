"""Lists that users saw, with what came of them, out of the feedback log."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from serving.feedback.events import Impression, Shown
from serving.feedback.reading import BadLine, read_events, sealed_files


class SeenList(NamedTuple):
    """One list.

    Attributes:
        id: of the list.
        user: id that the model knows, or else the pseudonym.
        history: that the request gave.
        items: that were shown, with their propensities.
        rewarded: those among them that were a success.
    """

    id: str
    user: str
    history: tuple[str, ...]
    items: tuple[Shown, ...]
    rewarded: frozenset[str]

    @property
    def user_number(self) -> int:
        """A number for the user, in all lists the same."""
        return zlib.crc32(self.user.encode())

    @property
    def is_judge(self) -> bool:
        """Whether the list judges a policy, which those of about half of the users have taught."""
        return self.user_number % 2 == 1


def read_lists(
    log: Path, *, users: Mapping[str, str], reward: str
) -> tuple[list[SeenList], list[BadLine]]:
    """Read the finished files of a log.

    Args:
        log: its folder.
        users: ids by their pseudonyms.
        reward: "click" or "purchase": the action that makes an impression a success.

    Raises:
        BadInput: the folder does not exist.
    """
    impressions: list[Impression] = []
    rewarded: dict[str, set[str]] = {}
    bad: list[BadLine] = []
    for event in (event for file in sealed_files(log) for event in read_events(file)):
        if isinstance(event, BadLine):
            bad.append(event)
        elif isinstance(event, Impression):
            impressions.append(event)
        elif event.event == reward and event.list is not None:
            rewarded.setdefault(event.list, set()).add(event.item)
    lists = [
        SeenList(
            id=shown.list,
            user=users.get(shown.user, shown.user),
            history=shown.history,
            items=shown.items,
            rewarded=frozenset(rewarded.get(shown.list, ())),
        )
        for shown in impressions
    ]
    return lists, bad
