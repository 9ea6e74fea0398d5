"""A graph in a session, and the versions that run in it, each by its own variables."""

from __future__ import annotations

import copy
import functools
import gc
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the text ops that served graphs use)
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

# The public `load` imports the graph and reads variables in one go.
from tensorflow.python.saved_model.loader_impl import SavedModelLoader
from tensorflow.python.saved_model.path_helpers import get_variables_path

from serving.runtime.variable_slots import SLOTS, add_slots
from serving.status import StatusError

MAX_CALLS: Final = 128
"""Of compiled fetches: a client that varies its output_filter must not fill the memory."""

_Call = Callable[..., Sequence[Any]]


class LoadedGraph:
    """One MetaGraph in a session. Versions come and go in one thread; any may run them.

    Attributes:
        meta_graph: as the file has it.
        graph: with all its tensors.
    """

    def __init__(
        self, path: str, *, tags: Sequence[str], session_config: config_pb2.ConfigProto | None
    ) -> None:
        """Imports the graph of a version, whose variables are not read yet.

        Args:
            path: the version's folder.
            tags: of the MetaGraph.
            session_config: threads, devices and graph optimizer of the runtime.

        Raises:
            OSError: there is none.
            ValueError, TypeError, RuntimeError, KeyError: it is damaged.
        """
        self._tags = tags
        self._saved = SavedModelLoader(path)
        self.meta_graph: MetaGraphDef = self._saved.get_meta_graph_def_from_tags(tags)
        self.graph = tf.Graph()
        with self.graph.as_default():
            self._slots = add_slots(self.meta_graph.graph_def)
            inputs = self._slots.inputs if self._slots else {}
            self._saver, _ = self._saved.load_graph(self.graph, tags, input_map=inputs)
        self._session = tf.compat.v1.Session(graph=self.graph, config=session_config)
        self._size = SLOTS if self._slots else 1
        self._free = set(range(self._size))
        self._lock = threading.Lock()
        self._compiled = functools.lru_cache(MAX_CALLS)(self._compile)

    @property
    def has_room(self) -> bool:
        """Whether it is in use and can take one more version."""
        return 0 < len(self._free) < self._size

    def take(self, path: str) -> PlacedVersion:
        """Reads a version's variables into a free slot.

        Args:
            path: folder of a version with this graph and these assets.

        Raises:
            StatusError, ValueError: they can't be read; the slot is free again.
        """
        slot = min(self._free)
        self._free.remove(slot)
        placed, saved = PlacedVersion(self, slot), self._saved_in(path)
        try:
            saved.restore_variables(placed, self._saver)
            saved.run_init_ops(placed, self._tags)
        except BaseException:
            self.free(slot)
            raise
        return placed

    def _saved_in(self, path: str) -> SavedModelLoader:
        """Of a folder with this graph, which is not parsed once more."""
        saved = copy.copy(self._saved)
        saved._export_dir, saved._variables_path = path, get_variables_path(path)
        return saved

    def free(self, slot: int) -> None:
        """Gives back the memory of a version that no longer runs, with the last one's the graph."""
        self._free.add(slot)
        if self._slots and len(self._free) < self._size:
            self.run(slot, self._slots.clear, {})
            return
        self._compiled.cache_clear()
        self._session.close()
        del self._session, self._saved, self._saver, self._slots, self.graph
        gc.collect()  # a tf.Graph is full of cycles; its constants would stay until the next round

    def run(self, slot: int, fetches: Any, feeds: Mapping[Any, Any]) -> Any:
        """`Session.run` about the variables of one slot.

        Raises:
            StatusError: it failed. Of a `tf.errors.OpError` TensorFlow's loader would make one with
                a text of its own.
        """
        chosen = {self._slots.feed: slot} if self._slots else {}
        try:
            return self._session.run(fetches, {**feeds, **chosen})
        except tf.errors.OpError as error:
            # The runtime's own text: `Session.run` tells another one, for whoever made the graph.
            raise StatusError.from_tensorflow(error.__context__ or error) from error

    def call(
        self, slot: int, feeds: tuple[str, ...], fetches: tuple[str, ...], timeout_ms: int
    ) -> _Call:
        """A compiled fetch about the variables of one slot, see `PlacedVersion.call`."""
        with self._lock:
            call = self._compiled(feeds, fetches, timeout_ms)
        if not self._slots:
            return call
        chosen = np.array(slot, np.int32)
        return lambda *arguments: call(*arguments, chosen)

    def _compile(self, feeds: tuple[str, ...], fetches: tuple[str, ...], timeout_ms: int) -> _Call:
        chosen = (self._slots.feed,) if self._slots else ()
        options = config_pb2.CallableOptions(
            feed=[*feeds, *chosen],
            fetch=fetches,
            # In the request's own thread, which would else wait for another one to wake up. But
            # from there nothing could end it when its time is over.
            run_options=config_pb2.RunOptions(
                timeout_in_ms=timeout_ms, inter_op_thread_pool=0 if timeout_ms else -1
            ),
        )
        # The public make_callable falls back to Session.run as soon as there are feeds: twice as
        # slow, and it checks shapes. Keras' own backend uses this one.
        call: _Call = self._session._make_callable_from_options(options)
        return call


class PlacedVersion:
    """A version in a slot of a loaded graph.

    Attributes:
        meta_graph: as the file has it.
        graph: with all its tensors.
    """

    def __init__(self, loaded: LoadedGraph, slot: int) -> None:
        """`LoadedGraph.take` makes it."""
        self.meta_graph, self.graph = loaded.meta_graph, loaded.graph
        self._loaded, self._slot = loaded, slot

    def run(self, fetches: Any, feed_dict: Mapping[Any, Any] | None = None) -> Any:
        """As of a session: TensorFlow's loader is given this in place of one."""
        return self._loaded.run(self._slot, fetches, feed_dict or {})

    def call(self, feeds: tuple[str, ...], fetches: tuple[str, ...], *, timeout_ms: int) -> _Call:
        """A compiled fetch; other versions in the graph compile it no more.

        Args:
            feeds: names of tensors, for which it takes one array each.
            fetches: names of tensors, for which it gives one value each.
            timeout_ms: the runtime gives up after this; 0 for never.

        Raises:
            tf.errors.OpError, KeyError, ValueError, TypeError: there are no such tensors.
        """
        return self._loaded.call(self._slot, feeds, fetches, timeout_ms)

    def close(self) -> None:
        """Gives its memory back; nothing of it may be running."""
        self._loaded.free(self._slot)
