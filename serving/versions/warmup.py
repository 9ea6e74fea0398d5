"""Warm-up: replays the requests that a version ships with, before it becomes available.

The file is the stock one, `assets.extra/tf_serving_warmup_requests`: a TFRecord of `PredictionLog`.
A bad record fails the load, so a version that can't answer its own examples never serves. Model
name and version inside a record are ignored.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.inference import examples
from serving.inference.predict import predict
from serving.runtime.servable import Servable
from serving.status import StatusError, invalid_argument

WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000
_METHODS: dict[str, Callable[..., Any]] = {
    "predict_log": predict,
    "classify_log": examples.classify,
    "regress_log": examples.regress,
    "multi_inference_log": examples.multi_inference,
}
_log = logging.getLogger(__name__)


def warm_up(servable: Servable, *, iterations: int = 1, check_method: bool = False) -> int:
    """Runs every record.

    Args:
        servable: the version whose folder has the file.
        iterations: how often to run each.
        check_method: refuse signatures whose method name is another one.

    Returns:
        the number of records; 0 where there is no file.

    Raises:
        StatusError: a record that is none, that fails, or the one after `MAX_RECORDS`.
    """
    path = os.path.join(servable.path, WARMUP_FILE)
    if not os.path.exists(path):
        _log.info("No warmup data file found at %s", path)
        return 0
    _log.info("Starting to read warmup data for model at %s", path)
    start, count = time.perf_counter(), 0
    try:
        for record in _records(path):
            for _ in range(iterations):
                _replay(servable, record, check_method=check_method)
            count += 1
            if count > MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}"
                )
    except tf.errors.OpError as error:
        status = StatusError.from_tensorflow(error)
        servable.metrics.warm_up(servable.path, start, status=str(status))
        if status.code is grpc.StatusCode.DATA_LOSS:
            status.message += ". Please verify your warmup data is in TFRecord format."
        raise status from error
    servable.metrics.warm_up(servable.path, start, status="OK")
    _log.info(
        "Finished reading warmup data for model at %s. Number of warmup records read: %d."
        " Elapsed time (microseconds): %d.",
        path,
        count,
        (time.perf_counter() - start) * 1e6,
    )
    return count


def _records(path: str) -> Iterator[prediction_log_pb2.PredictionLog]:
    for record in tf.compat.v1.io.tf_record_iterator(path):
        try:
            yield prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError as error:
            text = record.decode("utf-8", "replace")
            raise invalid_argument(f"Failed to parse warmup record: {text} from {path}") from error


def _replay(
    servable: Servable, record: prediction_log_pb2.PredictionLog, *, check_method: bool
) -> None:
    kind = record.WhichOneof("log_type")
    if kind is None:
        return
    ask = _METHODS.get(kind)
    if ask is None:
        number = record.DESCRIPTOR.fields_by_name[kind].number
        raise StatusError(
            grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}"
        )
    ask(servable, getattr(record, kind).request, check_method=check_method)
