"""`read_text`: a file that a flag names, with the stock server's errors."""

from __future__ import annotations

import errno

from serving.status import StatusError, invalid_argument


def read_text(path: str, *, errors: str = "strict") -> str:
    """All of the file.

    Args:
        path: of the file.
        errors: what becomes of bytes that are no UTF-8, as `open` has it.

    Raises:
        StatusError: NOT_FOUND for a missing file or a folder, INVALID_ARGUMENT for one that is no
            text; the code of the reason where it can't be read.
    """
    try:
        with open(path, encoding="utf-8", errors=errors) as file:
            return file.read()
    except IsADirectoryError as error:  # the stock server maps files, which no folder can be
        raise StatusError.from_errno(path, errno.ENODEV) from error
    except OSError as error:
        raise StatusError.from_errno(path, error.errno) from error
    except UnicodeDecodeError as error:
        raise invalid_argument(f"{path}; not a text file") from error
