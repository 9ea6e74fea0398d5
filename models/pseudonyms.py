"""Pseudonyms of user ids: the same in ingestion, in the feedback log and for a client."""

from __future__ import annotations

import hmac
import os
import re
from typing import Final

from models.errors import BadInput

# Marks an id that is a pseudonym already, so that ingestion does not hash it again.
MARK: Final = "hmac-sha256:"
_MARKED: Final = re.compile(rf"{MARK}([0-9a-f]{{64}})")


def read_key(name: str) -> bytes:
    """The key of a log, out of the environment variable of that name.

    Raises:
        BadInput: it is not set.
    """
    if not os.environ.get(name):
        raise BadInput(
            f"The environment variable {name or 'of the key'} is not set. Give its name, and "
            "export it with the key that the log was written with."
        )
    return os.environ[name].encode()


def pseudonym(key: bytes, user: str) -> str:
    """A user's pseudonym, 64 hexadecimal digits: HMAC-SHA256 of the id (RFC 2104).

    Without the key it can neither be had from an id nor turned back into one. What is marked as a
    pseudonym comes back without the mark, and is hashed where it can't be one.
    """
    if marked := _MARKED.fullmatch(user):
        return marked[1]
    return hmac.digest(key, user.encode(), "sha256").hex()
