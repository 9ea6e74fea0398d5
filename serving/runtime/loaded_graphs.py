"""The graphs that are loaded for the versions of one model.

Loading takes as long as a graph takes to be imported and each signature to be compiled: seconds. A
version that a change of the shelf made has the graph of the one before, to the byte, and other
variables. It takes a slot of that graph: the file is compared, and only its variables are read.
"""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Sequence
from pathlib import Path

from tensorflow.core.protobuf import config_pb2

from serving.runtime.loaded_graph import LoadedGraph, PlacedVersion
from serving.status import StatusError

_log = logging.getLogger(__name__)


class LoadedGraphs:
    """Graphs by what they were made of. One thread places and closes versions."""

    def __init__(self, session_config: config_pb2.ConfigProto | None) -> None:
        """None is loaded.

        Args:
            session_config: threads, devices and graph optimizer of the runtime.
        """
        self._session_config = session_config
        # A graph without versions is closed.
        self._graphs = weakref.WeakValueDictionary[str, LoadedGraph]()

    def place(self, path: str, tags: Sequence[str]) -> PlacedVersion:
        """Loads a version, where it can be into a graph that is loaded.

        Args:
            path: the version's folder.
            tags: of the MetaGraph.

        Raises:
            OSError: there is none.
            what `LoadedGraph` and its `take` do.
        """
        fingerprint = _fingerprint(Path(path), tags)
        known = self._graphs.get(fingerprint)
        if known and known.has_room:
            try:
                return known.take(path)
            except StatusError as error:
                # Alone it may do, or says what is wrong in the stock server's words.
                _log.warning("%s is not loaded into the graph that it shares: %s", path, error)
        graph = LoadedGraph(path, tags=tags, session_config=self._session_config)
        placed = graph.take(path)
        self._graphs[fingerprint] = graph
        return placed


def _fingerprint(version: Path, tags: Sequence[str]) -> str:
    """Of all that is loaded but the variables."""
    digest = hashlib.sha256(repr(sorted(tags)).encode())
    assets = [file for file in sorted((version / "assets").rglob("*")) if file.is_file()]
    for file in [version / "saved_model.pb", *assets]:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(version)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
