"""`Batcher`: requests to one version, brought together by TensorFlow's own C++ batch scheduler.

The scheduler is the op `BatchFunction`, in a graph and session of its own: it forms the batches,
bounds the queues and runs the threads. What it is given is not the request but a ticket, one per
row; the function it calls with a batch of tickets looks the requests up, runs those together that
can be, and hands each its rows. The stock server wraps its session in the same way, in C++.

Requests run together where nothing can change their answers: same outputs asked for, equal scalar
inputs (such as a `k`), equal shapes but for the rows. Where the graph fails, or its outputs are no
rows, each request of the batch runs by itself: none gets another one's error.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from serving.runtime.batch_options import BatchOptions
from serving.status import StatusError, invalid_argument

Array = np.ndarray[Any, Any]
_INPUTS = "Batching Run() input tensors"
_LATE = "Run() timeout exceeded while waiting in batching queue"
_TICKETS = "tickets"
_RESOURCE = "batches"
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class BatchableCall:
    """A compiled fetch of a graph, with what batching needs to know of it.

    Attributes:
        run: takes one array per feed, gives one value per fetch.
        queue: requests with the same name may be in one batch.
        timeout_ms: a request that has waited for longer is not run; 0 for never.
        scalar: of each feed: True for a scalar, False for rows.
        splits: whether its outputs have turned out to be rows so far.
    """

    run: Callable[..., Sequence[Any]]
    queue: str
    timeout_ms: int
    scalar: tuple[bool, ...]
    splits: bool = True

    @classmethod
    def of(
        cls,
        run: Callable[..., Sequence[Any]],
        *,
        feeds: Sequence[tf.TensorShape],
        fetches: Sequence[tf.TensorShape],
        queue: str,
        timeout_ms: int,
    ) -> BatchableCall | None:
        """The call, or None where what the graph declares has no rows to join or to cut.

        Args:
            run: see the attribute.
            feeds: static shapes, in the order of the arguments.
            fetches: static shapes.
            queue: see the attribute.
            timeout_ms: see the attribute.
        """
        scalar = tuple(shape.rank == 0 for shape in feeds)
        if all(scalar) or any(shape.rank == 0 for shape in fetches):
            return None
        if any(shape.rank and shape[0] is not None for shape in (*feeds, *fetches)):
            return None
        return cls(run, queue, timeout_ms, scalar)

    def rows(self, arguments: Sequence[Array | int]) -> int:
        """Rows of a request; 0 where it has none or has to run by itself.

        Raises:
            StatusError: in the stock server's words, inputs without rows, or of unlike numbers.
        """
        sizes = set()
        for scalar, array in zip(self.scalar, arguments, strict=True):
            if isinstance(array, int):  # a tensor that can't be fed; the runtime says why
                return 0
            if scalar:
                if array.ndim:  # the graph is asked for something odd; let it answer
                    return 0
                continue
            if array.ndim == 0:
                raise invalid_argument(f"{_INPUTS} must have at least one dimension")
            sizes.add(len(array))
        if len(sizes) > 1:
            raise invalid_argument(f"{_INPUTS} must have equal 0th-dimension size")
        return sizes.pop()


@dataclass(eq=False)
class _Request:
    """One request in the scheduler's hands.

    It comes back with results, or with the error that it met when no other request was with it, or
    with neither: then it has to run by itself.
    """

    call: BatchableCall
    arguments: Sequence[Array]
    rows: int
    entered: float = field(default_factory=time.monotonic)
    results: Sequence[Any] | None = None
    error: tf.errors.OpError | StatusError | None = None

    def is_late(self) -> bool:
        """Whether its time is over."""
        limit = self.call.timeout_ms
        return limit > 0 and (time.monotonic() - self.entered) * 1e3 > limit


class Batcher:
    """The batches of one version. `run` may be called from any thread."""

    def __init__(self, options: BatchOptions) -> None:
        """Makes the scheduler; its threads start with the first request."""
        self._options = options
        self._requests: dict[int, _Request] = {}
        self._tickets = itertools.count()
        self._lock = threading.Lock()
        self._queues: dict[str, Callable[[Array], Any]] = {}
        self._graph = tf.Graph()
        with self._graph.as_default():
            self._placeholder = tf.compat.v1.placeholder(tf.int64, [None], name=_TICKETS)
            self._function = tf.function(
                lambda tickets: tf.numpy_function(self._process, [tickets], tf.int64),
                input_signature=[tf.TensorSpec([None], tf.int64)],
                autograph=False,
            ).get_concrete_function()
        # Threads of its own: a batch waits in one of them for the model's session, and would wait
        # for ever if that session's ops were queued for the same thread.
        threads = options.num_batch_threads
        self._session = tf.compat.v1.Session(
            graph=self._graph,
            config=config_pb2.ConfigProto(
                use_per_session_threads=True, inter_op_parallelism_threads=threads
            ),
        )

    def run(self, call: BatchableCall, arguments: Sequence[Array | int]) -> Sequence[Any]:
        """Runs a call, with others where they fit.

        Args:
            call: what to run.
            arguments: one array per feed; an int stands for a tensor that can't be fed.

        Returns:
            one value per fetch.

        Raises:
            StatusError: the scheduler's or the checks' refusal, or the time is over.
            tf.errors.OpError: from the graph.
        """
        rows = call.rows(arguments)
        if rows == 0 or not call.splits:
            return call.run(*arguments)
        request = _Request(call, arguments, rows)  # type: ignore[arg-type]  # no int has rows
        ticket = next(self._tickets)
        self._requests[ticket] = request
        try:
            self._queue(call.queue)(np.full(rows, ticket, np.int64))
        except tf.errors.OpError as error:
            # Only the scheduler fails here; behind its text is the name of our op.
            refusal = StatusError.from_tensorflow(error)
            raise StatusError(refusal.code, refusal.message.partition("\n")[0]) from error
        finally:
            del self._requests[ticket]
        if request.error is not None:
            raise request.error
        return call.run(*arguments) if request.results is None else request.results

    def close(self) -> None:
        """Ends the threads; no request may be running."""
        self._session.close()
        self._queues.clear()
        del self._session, self._graph, self._function, self._placeholder

    def _queue(self, name: str) -> Callable[[Array], Any]:
        queue = self._queues.get(name)
        if queue is None:
            with self._lock:
                queue = self._queues.get(name)
                if queue is None:
                    queue = self._queues[name] = self._add_queue(name)
        return queue

    def _add_queue(self, name: str) -> Callable[[Array], Any]:
        options = self._options
        with self._graph.as_default():
            (batched,) = tf.raw_ops.BatchFunction(
                in_tensors=[self._placeholder],
                captured_tensors=[],
                f=self._function,
                num_batch_threads=options.num_batch_threads,
                max_batch_size=options.max_batch_size,
                batch_timeout_micros=options.batch_timeout_micros,
                max_enqueued_batches=options.max_enqueued_batches,
                Tout=[tf.int64],
                shared_name=_RESOURCE,  # one scheduler with its threads for all queues
                batching_queue=name,
            )
        callable_options = config_pb2.CallableOptions(
            feed=[self._placeholder.name],
            fetch=[batched.name],
            # In the request's own thread: the session's threads belong to the batches.
            run_options=config_pb2.RunOptions(inter_op_thread_pool=-1),
        )
        queue: Callable[[Array], Any] = self._session._make_callable_from_options(callable_options)
        return queue

    def _process(self, tickets: Array) -> Array:
        """Runs a batch; called by the scheduler, in one of its threads."""
        requests = [self._requests[ticket] for ticket in dict.fromkeys(tickets.tolist())]
        groups: dict[Any, list[_Request]] = {}
        for request in requests:
            if request.is_late():
                request.error = StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, _LATE)
                continue
            groups.setdefault(self._key(request), []).append(request)
        for group in groups.values():
            try:
                _run_together(group, self._options)
            except tf.errors.OpError as error:
                # Of several, each runs by itself, and only those at fault see an error: their own.
                if len(group) == 1:
                    group[0].error = error
            except Exception:
                _log.exception("A batch failed; each of its requests runs by itself")
        return tickets

    def _key(self, request: _Request) -> Any:
        """Equal for requests that may run together."""
        padded = self._options.pad_variable_length_inputs
        return (
            request.call,
            *(
                _value(array) if scalar else array.ndim if padded else array.shape[1:]
                for scalar, array in zip(request.call.scalar, request.arguments, strict=True)
            ),
        )


def _value(scalar: Array) -> bytes:
    """Of an array without dimensions; bytes, because NaN is not equal to itself."""
    value: bytes = scalar.item() if scalar.dtype == np.object_ else scalar.tobytes()
    return value


def _run_together(group: Sequence[_Request], options: BatchOptions) -> None:
    """Runs requests of one key as one, and gives each its rows of every output."""
    call = group[0].call
    rows = sum(request.rows for request in group)
    as_it_is = rows <= options.max_execution_batch_size and options.filled_size(rows) == rows
    if len(group) == 1 and as_it_is:
        group[0].results = call.run(*group[0].arguments)
        return
    feeds = [
        columns[0] if scalar else _joined(columns)
        for scalar, columns in zip(
            call.scalar, zip(*(request.arguments for request in group), strict=True), strict=True
        )
    ]
    outputs = _run_in_pieces(call, feeds, rows, options)
    if outputs is None:
        return
    start = 0
    for request in group:
        request.results = [output[start : start + request.rows] for output in outputs]
        start += request.rows


def _run_in_pieces(
    call: BatchableCall, feeds: Sequence[Array], rows: int, options: BatchOptions
) -> Sequence[Array] | None:
    """Every output with `rows` rows; None where the outputs can't be cut or joined by row."""
    pieces = []
    for start in range(0, rows, options.max_execution_batch_size):
        taken = min(options.max_execution_batch_size, rows - start)
        size = options.filled_size(taken)
        results = call.run(
            *(
                feed if scalar else _filled(feed[start : start + taken], size)
                for scalar, feed in zip(call.scalar, feeds, strict=True)
            )
        )
        if any(np.ndim(result) == 0 or len(result) != size for result in results):
            call.splits = False
            return None
        pieces.append([result[:taken] for result in results])
    outputs = list(zip(*pieces, strict=True))
    if any(len({piece.shape[1:] for piece in output}) > 1 for output in outputs):
        return None
    return [_joined(output) for output in outputs]


def _joined(arrays: Sequence[Array]) -> Array:
    """Arrays one after another; of unlike shapes, each is first filled up with its first value."""
    if len(arrays) == 1:
        return arrays[0]
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        inner = [max(sizes) for sizes in zip(*shapes, strict=True)]
        arrays = [_widened(array, inner) for array in arrays]
    joined: Array = np.concatenate(arrays)
    return joined


def _widened(array: Array, inner: Iterable[int]) -> Array:
    shape = (len(array), *inner)
    if array.shape == shape:
        return array
    first = array.flat[0] if array.size else b"" if array.dtype == np.object_ else 0
    wide = np.full(shape, first, array.dtype)
    wide[tuple(slice(size) for size in array.shape)] = array
    return wide


def _filled(array: Array, rows: int) -> Array:
    """The array with its first row repeated at the end, up to `rows`."""
    missing = rows - len(array)
    if missing == 0:
        return array
    filled: Array = np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
    return filled
