"""How the sessions of whatever serves Debut's models are set up: a file for the stock flag."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tensorflow.core.protobuf import config_pb2

from serving.model_config import read_text_proto

FILE: Final = Path(__file__).with_name("session.config")
FLAG: Final = "--tensorflow_session_config_file"


def read_session_config() -> config_pb2.ConfigProto:
    """What the file says, for a session in this process."""
    config: config_pb2.ConfigProto = read_text_proto(str(FILE), config_pb2.ConfigProto())
    return config
