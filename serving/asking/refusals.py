"""What a server's refusal means to who asked, where it is known: the place and the remedy.

Its own words are those of TensorFlow and of the stock server, which clients of other kinds read.
"""

from __future__ import annotations

import re
from typing import Final

# Where in the graph it failed; the names mean nothing to a caller.
_FUNCTIONS: Final = re.compile(r"\A(?:\{\{function_node .*?\}\} ?)+")
# What an assertion of the graph says, each part of it in brackets.
_ASSERTION: Final = re.compile(r"(?:\A|\n)assertion failed: \[(.*)\]\Z", re.DOTALL)
_KNOWN: Final = tuple(
    (re.compile(pattern, re.DOTALL), meaning)
    for pattern, meaning in (
        (
            r"item_id is not in the catalogue: (?P<what>.*)\.",
            "The model at {target} does not know item {what}. Give ids of its catalogue; "
            "`debut items add` brings new products.",
        ),
        (
            r"Unrecognized servable version label: (?P<what>.*)",
            "No version at {target} has the label {what}. `debut versions` names the labels of a "
            "root; without a label the newest version is asked.",
        ),
        (
            r"Servable not found for request: Latest\((?P<what>.*)\)",
            "The model server at {target} has loaded no version of a model {what}. Wait until it "
            "has, or ask a server that `debut serve` started.",
        ),
    )
)


def plain(details: str) -> str:
    """What a server says, without the nodes of the graph and the brackets of its assertions."""
    told = _FUNCTIONS.sub("", details).split("\n\t [[")[0]
    asserted = _ASSERTION.search(told)
    return f"{asserted[1].replace('] [', ' ')}." if asserted else told


def meaning(details: str, target: str) -> str | None:
    """What that means; None for words that are not known.

    Args:
        details: as `plain` gave them.
        target: of the server.
    """
    for pattern, told in _KNOWN:
        if found := pattern.search(details):
            return told.format(target=target, what=found["what"])
    return None
