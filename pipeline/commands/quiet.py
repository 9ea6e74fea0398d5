"""Sends what libraries log and warn about to a file instead of the terminal.

TensorFlow reads its variables when it is imported and Python's root logger gets a handler on
stderr at the first careless `logging.info` of a library, so this must come before their import.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from models.errors import BadInput

_VARIABLES: Final = {
    # 3 hides errors too: TensorFlow reports a machine without CUDA as three of them.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "NONE",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",  # of processes that are started
}


@contextmanager
def quiet(log: Path | None, *, debug: bool) -> Iterator[None]:
    """Keep libraries off the terminal; an exception is written down and goes on.

    Args:
        log: the file, in an existing folder, written anew; None for no file.
        debug: leave everything on stderr instead.

    Raises:
        BadInput: the file can't be written.
    """
    if debug:
        logging.basicConfig(level=logging.INFO)
        yield
        return
    handler = logging.NullHandler() if log is None else _file_handler(log)
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield
    except BaseException:
        root.exception("The command ended here")
        raise
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()


def _file_handler(log: Path) -> logging.Handler:
    try:
        handler = logging.FileHandler(log, mode="w", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{log} can't be written ({error.strerror}). Give --root a folder that can."
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s] %(message)s"))
    return handler
