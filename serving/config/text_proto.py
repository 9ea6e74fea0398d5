"""`read_text_proto`: a message from a file, with the stock server's errors."""

from __future__ import annotations

import logging
from typing import Any

from google.protobuf import text_format

from serving.config.parse_errors import told
from serving.config.text_file import read_text
from serving.status import invalid_argument

_log = logging.getLogger(__name__)


def read_text_proto(path: str, message: Any) -> Any:
    """Fills the message from a text-proto file and returns it.

    Raises:
        StatusError: NOT_FOUND for a missing file, INVALID_ARGUMENT for an empty or unfit one.
    """
    text = read_text(path, errors="replace")  # a comment may be in any encoding
    if not text:
        raise invalid_argument(f"{path}; Invalid argument")
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        # Scripts look for this line of the C++ parser on standard error.
        what = told(error, text)
        _log.error("Error parsing text-format %s: %s", message.DESCRIPTOR.full_name, what)
        raise invalid_argument(f"Invalid protobuf file: '{path}'") from error
