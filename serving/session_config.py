"""How the sessions of the embedded server are set up where no file says so.

The stock server takes the same file by `--tensorflow_session_config_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tensorflow.core.protobuf import config_pb2

from serving.model_config import read_text_proto

SESSION_CONFIG: Final = Path(__file__).with_name("session.config")


def default_session_config() -> config_pb2.ConfigProto:
    """What `session.config` says."""
    config: config_pb2.ConfigProto = read_text_proto(str(SESSION_CONFIG), config_pb2.ConfigProto())
    return config
