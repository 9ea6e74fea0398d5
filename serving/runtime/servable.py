"""`Servable`: one loaded version of a model, run through the same runtime as the stock server.

It runs in a v1 `Session` over the MetaGraph, not by `tf.saved_model.load`: the session checks
dtypes and names but not shapes and fails with the very texts of the stock server; a
ConcreteFunction does neither. A servable counts its requests in flight, and `close` waits for them.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.metrics import Metrics
from serving.runtime.batch_options import BatchOptions
from serving.runtime.batching import BatchableCall, Batcher
from serving.runtime.loaded_graph import MAX_CALLS
from serving.runtime.loaded_graphs import LoadedGraphs
from serving.runtime.tensors import dtype_name
from serving.status import StatusError, invalid_argument, not_found

Array = np.ndarray[Any, Any]
# Aliases and the names of their tensors, in the order of the aliases.
_Names = tuple[tuple[str, str], ...]
_CallKey = tuple[_Names, _Names, int]


class _Call(NamedTuple):
    """A compiled fetch of some outputs of one signature."""

    run: Callable[[list[Any]], Sequence[Any]]  # by itself, or in a batch with others
    feeds: list[tuple[str, int]]  # (alias, DataType), in the order of the feed names
    fetches: dict[str, tuple[int, int]]  # alias -> (place among the results, DataType)


class Servable:
    """One version of one model, loaded.

    Attributes:
        model: name under which it is served.
        version: its number.
        signatures: signature name to `SignatureDef`, as the file has them.
        metrics: where its runs are counted.
    """

    def __init__(
        self,
        path: str,
        *,
        model: str,
        version: int,
        tags: Sequence[str] = ("serve",),
        graphs: LoadedGraphs | None = None,
        batching: BatchOptions | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Loads the SavedModel in `path`.

        Args:
            path: the version's folder.
            model: see the attribute.
            version: see the attribute.
            tags: of the MetaGraph to load.
            graphs: that other versions have loaded; None: one of its own, by default options.
            batching: how requests are brought together; None: each runs by itself.
            metrics: where runs are counted; None: in counters of its own.

        Raises:
            StatusError: code and text of the stock server where the folder can't be loaded.
        """
        self.model = model
        self.version = version
        self.path = path
        self.metrics = metrics or Metrics()
        _check_is_folder(path, model=model, version=version)
        try:
            self._placed = (graphs or LoadedGraphs(None)).place(path, tags)
        except tf.errors.OpError as error:
            raise StatusError.from_tensorflow(error) from error
        except (ValueError, TypeError, OSError, RuntimeError, KeyError) as error:
            _check_saved_model(path, tags)
            raise _damaged(error) from error
        self.signatures: dict[str, SignatureDef] = dict(self._placed.meta_graph.signature_def)
        self._batcher = Batcher(batching) if batching else None
        self._calls: dict[_CallKey, _Call] = {}
        self._compile_lock = threading.Lock()
        self._idle = threading.Condition()
        self._in_flight = 0

    def acquire(self) -> None:
        """Counts one more request; the caller must `release`."""
        with self._idle:
            self._in_flight += 1

    def release(self) -> None:
        """Counts one request less."""
        with self._idle:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.notify_all()

    def close(self) -> None:
        """Waits for the requests in flight, then frees the memory."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0)
        self._calls.clear()
        if self._batcher:
            self._batcher.close()
        self._placed.close()
        del self._placed, self._batcher

    def run(
        self,
        feeds: Mapping[str, tuple[str, Array | int]],
        fetches: Mapping[str, str],
        *,
        api: str,
        timeout_ms: int = 0,
    ) -> dict[str, tuple[Any, int]]:
        """Runs the graph.

        Args:
            feeds: alias to (tensor name, array); a `DataType` enum value in place of the array
                stands for a tensor that can't be fed.
            fetches: alias to tensor name.
            api: the method that it is counted under; empty: it is not.
            timeout_ms: the runtime gives up after this; 0 for never.

        Returns:
            alias to (value, `DataType`); a value is an array, or a scalar.

        Raises:
            StatusError: with the runtime's text.
        """
        fed = {alias: name for alias, (name, _) in feeds.items()}
        call = self._call((_sorted(fed), _sorted(fetches), timeout_ms))
        arguments = []
        for place, (alias, dtype) in enumerate(call.feeds):
            value = feeds[alias][1]
            _check_dtype(place, dtype, value)
            arguments.append(value)
        counted = self.metrics.runtime(self.model, api) if api else nullcontext()
        try:
            with counted:
                results = call.run(arguments)
        except tf.errors.OpError as error:
            raise StatusError.from_tensorflow(error) from error
        return {alias: (results[at], dtype) for alias, (at, dtype) in call.fetches.items()}

    def _call(self, key: _CallKey) -> _Call:
        call = self._calls.get(key)
        if call is None:
            # Not one for each of two requests: they could not be in one batch.
            with self._compile_lock:
                call = self._calls.get(key)
                if call is None:
                    if len(self._calls) >= MAX_CALLS:
                        self._calls.clear()
                    call = self._calls[key] = self._compile(*key)
        return call

    def _compile(self, feeds: _Names, fetches: _Names, timeout_ms: int) -> _Call:
        # The runtime numbers feeds in the order of their names ("Expects arg[1] to be ...").
        ordered = sorted(feeds, key=lambda item: item[1])
        fed = tuple(name for _, name in ordered)
        fetched = tuple(dict.fromkeys(name for _, name in fetches))
        try:
            run = self._placed.call(fed, fetched, timeout_ms=timeout_ms)
            return _Call(
                run=self._batched(run, fed, fetched, timeout_ms=timeout_ms),
                feeds=[(alias, self._dtype(name)) for alias, name in ordered],
                fetches={a: (fetched.index(n), self._dtype(n)) for a, n in fetches},
            )
        except tf.errors.OpError as error:
            raise StatusError.from_tensorflow(error) from error
        except (KeyError, ValueError, TypeError) as error:  # a signature that names no tensor
            raise invalid_argument(str(error)) from error

    def _batched(
        self,
        run: Callable[..., Sequence[Any]],
        feeds: Sequence[str],
        fetches: Sequence[str],
        *,
        timeout_ms: int,
    ) -> Callable[[list[Any]], Sequence[Any]]:
        """The fetch as a function of its arguments, through the batcher where there are rows."""
        batcher = self._batcher
        if batcher and set(feeds) in self._declared_feeds():
            call = BatchableCall.of(
                run,
                feeds=[self._placed.graph.get_tensor_by_name(name).shape for name in feeds],
                fetches=[self._placed.graph.get_tensor_by_name(name).shape for name in fetches],
                queue=",".join(feeds),
                timeout_ms=timeout_ms,
            )
            if call:
                return functools.partial(batcher.run, call)
        return lambda arguments: run(*arguments)

    def _declared_feeds(self) -> list[set[str]]:
        """Tensor names that requests feed together; any other mixture gets no queue of its own."""
        return [{info.name for info in s.inputs.values()} for s in self.signatures.values()]

    def _dtype(self, tensor_name: str) -> int:
        dtype: int = self._placed.graph.get_tensor_by_name(tensor_name).dtype.as_datatype_enum
        return dtype


def _damaged(error: Exception) -> StatusError:
    """A graph that can't be imported, in the words of the runtime where Python's importer has them.

    Of what the importer finds by itself, the stock server has other words.
    """
    told = error.__context__
    if isinstance(told, tf.errors.OpError):
        return StatusError.from_tensorflow(told)
    return StatusError(grpc.StatusCode.DATA_LOSS, str(error))


def _sorted(names: Mapping[str, str]) -> _Names:
    return tuple(sorted(names.items()))


def _check_dtype(place: int, expected: int, value: Array | int) -> None:
    """Refuses in the session's words; a callable would refuse too, but in other ones."""
    if isinstance(value, int):
        if value == types_pb2.DT_RESOURCE:
            raise invalid_argument(
                "Invalid resource type hash code: 0(name:  type: ). Perhaps a resource tensor was"
                " being provided as a feed? That is not currently allowed. Please file an issue at"
                " https://github.com/tensorflow/tensorflow/issues/new, ideally with a short code"
                " snippet that leads to this error message."
            )
        given = value
    else:
        given = tf.as_dtype(value.dtype).as_datatype_enum
    if given != expected:
        raise invalid_argument(
            f"Expects arg[{place}] to be {dtype_name(expected)} but {dtype_name(given)} is provided"
        )
    if isinstance(value, int):
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"The embedded server feeds no {dtype_name(given)}; tensorflow_model_server does.",
        )


def _check_is_folder(path: str, *, model: str, version: int) -> None:
    if os.path.exists(path) and not os.path.isdir(path):
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION,
            "Error while attempting to reserve resources to load servable"
            f" {{name: {model} version: {version}}}: {path}; Not a directory",
        )


def _check_saved_model(path: str, tags: Sequence[str]) -> None:
    """Fails with the stock server's code and text where the folder holds no such model."""
    name = os.path.join(path, "saved_model.pb")
    try:
        with open(name, "rb") as file:
            saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    except FileNotFoundError as error:
        raise not_found(
            "Specified file path does not appear to contain a SavedModel bundle (should have a"
            f" file called `saved_model.pb`)\nSpecified file path: {path}"
        ) from error
    except IsADirectoryError:  # nothing can be read from it, which is a message too
        saved_model = saved_model_pb2.SavedModel()
    except OSError as error:
        raise StatusError.from_errno(name, error.errno) from error
    except DecodeError as error:
        raise StatusError(grpc.StatusCode.OUT_OF_RANGE, "Read less bytes than requested") from error
    wanted = set(tags)
    if not any(set(graph.meta_info_def.tags) == wanted for graph in saved_model.meta_graphs):
        raise not_found(
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To"
            " inspect available tag-sets in the SavedModel, please use the SavedModel CLI:"
            " `saved_model_cli`"
        )
