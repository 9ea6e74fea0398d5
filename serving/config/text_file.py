"""`read_text`: a file that a flag names, with the stock server's errors."""

from __future__ import annotations

from serving.status import invalid_argument, not_found


def read_text(path: str) -> str:
    """All of the file.

    Raises:
        StatusError: NOT_FOUND for a missing file, INVALID_ARGUMENT for one that is no text.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise invalid_argument(f"{path}; not a text file") from error
