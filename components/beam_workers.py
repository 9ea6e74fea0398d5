"""Beam's workers on this machine: how they start and end, and how rows reach them.

Here stands what Beam has no flag for.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import threading
from collections.abc import Sequence
from multiprocessing import forkserver
from typing import Any, Final

import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from google.protobuf import json_format, text_format

from components import beam_reflection

_MANY: Final = "multi_processing"
_READER: Final = "wait_until_finish_read"
# What a program of ours and the workers of its nodes import.
_LIBRARIES: Final = (
    "apache_beam.runners.worker.sdk_worker_main",
    "components.catalogue.beam_describing",
    "pipeline.runner",
    "tensorflow_text",
    "tfx.components.evaluator.executor",
    "tfx.components.statistics_gen.executor",
    "tfx.components.transform.executor",
)
_FORKS: Final = multiprocessing.get_context("forkserver")


def prepare_workers(beam_args: Sequence[str]) -> None:
    """Have the pipelines of this process use workers as they are here.

    Args:
        beam_args: of the pipelines to come.
    """
    beam_reflection.remember()
    _turn_off_timed_flush()
    _let_one_reader_speak()
    # As Beam reads them: of a flag given twice it takes the last.
    if PipelineOptions(list(beam_args)).view_as(DirectOptions).direct_running_mode == _MANY:
        _fork_workers()


def _turn_off_timed_flush() -> None:
    """Have the runner of this process send rows to workers only in full buffers, or at their end.

    Its flush by time races with the writer and can drop rows without an error (apache_beam 2.74,
    `data_plane.TimeBasedBufferingClosableOutputStream`); workers have it turned off by default.
    Ingestion's accounting notices, but a run that fails is of no use.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


@functools.cache
def _let_one_reader_speak() -> None:
    """Print no traceback of the thread that reads a portable job's messages.

    Where the connection ends, so does the thread that reads the job's states, whose error is that
    of the node; Beam handles the one and forgets the other (apache_beam 2.74,
    `portable_runner.PipelineResult.wait_until_finish`).
    """
    others = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        reads_messages = args.thread is not None and args.thread.name == _READER
        if not (reads_messages and isinstance(args.exc_value, grpc.RpcError)):
            others(args)

    threading.excepthook = hook


def _fork_workers() -> None:
    """Fork workers from a process that has imported what they need and does nothing else.

    Beam starts a program for each worker of each pipeline (apache_beam 2.74,
    `local_job_service.SubprocessSdkWorker`), which imports TensorFlow and TFX anew for seconds.
    """
    register = worker_handlers.WorkerHandler.register_environment
    register(python_urns.SUBPROCESS_SDK, bytes)(_ForkedWorkerHandler)
    _FORKS.set_forkserver_preload(list(_LIBRARIES))
    forkserver.ensure_running()


class _ForkedWorkerHandler(worker_handlers.GrpcWorkerHandler):
    """A forked worker of a pipeline, which fails when the worker does.

    Of one that was killed, for want of memory perhaps, Beam's own handler leaves the runner waiting
    for an answer.
    """

    def __init__(self, _: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        options = self.provision_info.provision_info.pipeline_options
        told = {
            "CONTROL_API_SERVICE_DESCRIPTOR": _text(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": _text(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
            "WORKER_ID": self.worker_id,
        }
        self._worker = _FORKS.Process(target=_work, args=(told,), daemon=True)
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start_worker(self) -> None:
        """Fork."""
        self._worker.start()
        self._watcher.start()

    def stop_worker(self) -> None:
        """Wait for the end of the worker."""
        self._watcher.join()

    def _watch(self) -> None:
        self._worker.join()
        if code := self._worker.exitcode:
            ended = f"A Beam worker ended with exit code {code}."
            # The runner may have found its channel closed before, which does not tell why.
            logging.error(ended)
            self.control_conn.abort(RuntimeError(ended))


def _text(message: Any) -> str:
    return str(text_format.MessageToString(message))


def _work(told: dict[str, str]) -> None:
    from apache_beam.runners.worker import sdk_worker_main

    beam_reflection.remember()
    os.environ.update(told)
    # Libraries that were imported have left what prints. The runner gets all that is logged.
    for name in (None, "tensorflow"):
        logging.getLogger(name).handlers.clear()
    sdk_worker_main.main([])
