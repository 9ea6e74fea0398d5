"""`Target`: what a request line asks for, taken apart as libevent does it for the stock server.

A page is looked up by the path alone. Whatever comes after sees the query and the fragment too: in
`/v1/models/m?x=1` the model's name is `m?x=1`. Nothing is decoded here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from serving.rest.http_body import Unreadable

_CHARACTER = r"[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}"
_HOST = rf"\[[\w.:]+\]|(?:{_CHARACTER})*"
_AUTHORITY = rf"(?:(?:{_CHARACTER}|:)*@)?(?:{_HOST})(?::\d*)?"
_TARGET = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?"
    rf"(?://{_AUTHORITY}(?=[/?#]|\Z)|(?!//))"
    rf"(?P<whole>(?P<path>(?:{_CHARACTER}|[:@/])*)"
    rf"(?:\?(?:{_CHARACTER}|[:@/?])*)?(?:\#(?:{_CHARACTER}|[:@/?])*)?)",
    re.ASCII,
)


class Target(NamedTuple):
    """A request's target without scheme and host, still percent-encoded.

    Attributes:
        path: up to the query.
        whole: with query and fragment.
    """

    path: str
    whole: str

    @classmethod
    def of(cls, text: str) -> Target:
        """Takes a target apart; raises `Unreadable` where it is no URI (RFC 3986)."""
        found = _TARGET.fullmatch(text)
        if not found:
            raise Unreadable
        return cls(found["path"], found["whole"])
