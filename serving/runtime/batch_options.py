"""`BatchOptions`: how requests are batched, read from `BatchingParameters` text protos and checked.

Values that end the stock server's process by a crash are refused here with a message.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from serving.config.messages import BatchingParameters
from serving.config.text_proto import read_text_proto
from serving.status import invalid_argument

PER_MODEL_FILE = "batching_params.pbtxt"
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True)
class BatchOptions:
    """Parameters of one version's batches; the defaults are the stock server's.

    Attributes:
        max_batch_size: rows of a batch, and the most that one request may have.
        batch_timeout_micros: how long a batch that is not full waits for more rows.
        max_enqueued_batches: batches of one signature that may wait for a thread.
        num_batch_threads: batches that run at a time, in each version.
        allowed_batch_sizes: a batch is filled up to the first of these that it fits in.
        pad_variable_length_inputs: inputs of unlike shapes are filled up with their first value.
        max_execution_batch_size: a larger batch runs in pieces of this many rows.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = len(os.sched_getaffinity(0))
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    max_execution_batch_size: int = 1000

    @classmethod
    def from_proto(cls, proto: Any) -> BatchOptions:
        """Takes over a `BatchingParameters`; raises `StatusError` for values that make no sense."""
        threads = _value(proto, "num_batch_threads", cls.num_batch_threads)
        if threads < 1:
            raise invalid_argument(f"num_batch_threads must be positive; was {threads}")
        size = _value(proto, "max_batch_size", cls.max_batch_size)
        if size < 1:
            raise invalid_argument(f"max_batch_size must be positive; was {size}")
        timeout = _value(proto, "batch_timeout_micros", cls.batch_timeout_micros)
        if timeout < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {timeout}")
        enqueued = _value(proto, "max_enqueued_batches", cls.max_enqueued_batches)
        if enqueued < 0:
            raise invalid_argument(f"max_enqueued_batches must be non-negative; was {enqueued}")
        return cls(
            max_batch_size=size,
            batch_timeout_micros=timeout,
            max_enqueued_batches=enqueued,
            num_batch_threads=threads,
            allowed_batch_sizes=tuple(proto.allowed_batch_sizes),
            pad_variable_length_inputs=proto.pad_variable_length_inputs,
            max_execution_batch_size=_execution_size(proto, size),
        )

    def check_allowed_sizes(self) -> None:
        """Raises `StatusError` where they are not those of the stock server's rule."""
        last = self.allowed_batch_sizes[-1] if self.allowed_batch_sizes else self.max_batch_size
        if last != self.max_batch_size:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was"
                f" {last}; expected {self.max_batch_size}"
            )

    def filled_size(self, rows: int) -> int:
        """Rows that a batch of `rows` runs with."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


@dataclass(frozen=True)
class Batching:
    """What the flags say about batching.

    Attributes:
        common: of every version, unless `per_model`.
        per_model: a version is batched as its own file says, and not at all without one; only the
            number of threads is then the common one.
    """

    common: BatchOptions
    per_model: bool = False

    def for_version(self, path: str) -> BatchOptions | None:
        """Options of the version in a folder; None where it is not batched.

        Raises:
            StatusError: a file that can't be used, sizes that do not fit together.
        """
        options = self.common
        if self.per_model:
            file = os.path.join(path, PER_MODEL_FILE)
            if not os.path.exists(file):
                return None
            own = BatchOptions.from_proto(read_text_proto(file, BatchingParameters()))
            options = replace(own, num_batch_threads=self.common.num_batch_threads)
        options.check_allowed_sizes()
        return options


def read_batching(*, enabled: bool, file: str, per_model: bool) -> Batching | None:
    """The flags' values put together; None where batching is off.

    Raises:
        StatusError: a file without batching, a file that can't be used.
    """
    if not enabled:
        if file:
            raise invalid_argument(
                "server_options.batching_parameters_file is set without setting"
                " server_options.enable_batching to true."
            )
        return None
    proto = BatchingParameters()
    if file:
        read_text_proto(file, proto)
    return Batching(BatchOptions.from_proto(proto), per_model=per_model)


def _execution_size(proto: Any, max_batch_size: int) -> int:
    if not proto.enable_large_batch_splitting.value:
        return max_batch_size
    size = _value(proto, "max_execution_batch_size", max_batch_size)
    if not 1 <= size <= max_batch_size:
        raise invalid_argument(
            f"max_execution_batch_size must be from 1 to max_batch_size ({max_batch_size});"
            f" was {size}"
        )
    return size


def _value(proto: Any, name: str, default: int) -> int:
    if not proto.HasField(name):
        return default
    # The scheduler's own numbers are 32 bits wide.
    value: int = min(getattr(proto, name).value, _MAX_INT32)
    return value
