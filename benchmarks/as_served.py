"""A version loaded into this process, as `debut serve` has a server load it."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow.core.protobuf import config_pb2

from pipeline.layout import MODEL_NAME
from serving.runtime.loaded_graphs import LoadedGraphs
from serving.runtime.servable import Servable
from serving.session_config import FILE


def load_as_served(model: Path) -> Servable:
    """The version in a folder, under the number 1; whoever loads it closes it."""
    config = text_format.Parse(FILE.read_text(), config_pb2.ConfigProto())
    return Servable(str(model), model=MODEL_NAME, version=1, graphs=LoadedGraphs(config))
