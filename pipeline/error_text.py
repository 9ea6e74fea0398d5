"""What an error is to whoever ran a command: an exit code and one paragraph.

A `DebutError` is looked for along the chain of causes, because a library that runs our code may
wrap what it raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from models.errors import DebutError

INTERRUPTED: Final = 130  # what a shell reports for a process that SIGINT ended
_ADVICE: Final = "Run it again with --debug to see where it comes from."
_LONGEST: Final = 1000  # characters of a message that is not ours


def describe(error: BaseException, advice: str = _ADVICE) -> tuple[int, str]:
    """The exit code and the paragraph for an error that ended a command.

    Args:
        error: what ended it.
        advice: how to find out more of an error that is not ours.
    """
    for link in _chain(error):
        if isinstance(link, KeyboardInterrupt):
            return INTERRUPTED, "Interrupted."
        if isinstance(link, DebutError):
            return link.exit_code, f"Error: {_paragraph(str(link))}"
    return 1, f"Error: unexpected {cause(error)} {advice}"


def cause(error: BaseException) -> str:
    """What an error is called and what it says, in one paragraph that ends as a sentence does."""
    kind, said = _named(error)
    return f"{kind}: {_last_words(said)}"


def _named(error: BaseException) -> tuple[str, str]:
    """What an error that is not ours is called, and what it says."""
    import grpc

    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        # Its class is private to gRPC, and its text is the channel's state.
        return f"gRPC error {error.code().name}", error.details() or "no details"
    return type(error).__name__, str(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _last_words(text: str) -> str:
    """Of a message that holds a whole traceback, as Beam's do, only its end says what happened."""
    if "Traceback (most recent call last)" in text:
        text = text.rstrip().rsplit("\n", 1)[-1]
    text = _paragraph(text)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + " …"
    return text if text.endswith((".", "!", "?", "…")) else text + "."
