"""`load`: one attempt to make a version folder a `Servable` that is warm, and how it is made.

Whatever goes wrong is a `StatusError`, as a version's state shows it to a client.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from tensorflow.core.protobuf import config_pb2

from serving.metrics import Metrics
from serving.runtime.batch_options import Batching
from serving.runtime.loaded_graphs import LoadedGraphs
from serving.runtime.servable import Servable
from serving.status import StatusError
from serving.versions.warmup import warm_up

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadOptions:
    """How versions are found and loaded; the defaults are the stock server's.

    Attributes:
        poll_seconds: between looks at the base path; 0 looks once, negative never.
        max_retries: further attempts after a failed load.
        retry_seconds: between attempts.
        tags: of the MetaGraph to load.
        warm_up: replay the warm-up file before a version is available.
        warm_up_iterations: how often each record is replayed.
        check_method: refuse warm-up requests to signatures with another method's name.
        session_config: threads and devices of the runtime.
        batching: how requests are brought together; None: each runs by itself.
        metrics: where loads, warm-ups and runs are counted.
    """

    poll_seconds: float = 1
    max_retries: int = 5
    retry_seconds: float = 60
    tags: Sequence[str] = ("serve",)
    warm_up: bool = True
    warm_up_iterations: int = 1
    check_method: bool = False
    session_config: config_pb2.ConfigProto | None = None
    batching: Batching | None = None
    metrics: Metrics = field(default_factory=Metrics)


def load(
    path: str, *, model: str, version: int, graphs: LoadedGraphs, options: LoadOptions
) -> Servable:
    """Loads a version and warms it up.

    Args:
        path: its folder.
        model: name under which it is served.
        version: its number.
        graphs: that the model's other versions have loaded.
        options: see there.

    Raises:
        StatusError: it can't be loaded, or not answer its own warm-up requests.
    """
    try:
        with options.metrics.load(path):
            servable = Servable(
                path,
                model=model,
                version=version,
                tags=options.tags,
                graphs=graphs,
                batching=options.batching.for_version(path) if options.batching else None,
                metrics=options.metrics,
            )
        if options.warm_up:
            try:
                warm_up(
                    servable,
                    iterations=options.warm_up_iterations,
                    check_method=options.check_method,
                )
            except BaseException:
                servable.close()
                raise
    except StatusError:
        raise
    except Exception as error:  # whatever a damaged file makes a library raise, a load failed
        _log.exception("Loading %s", path)
        raise StatusError(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}") from error
    return servable
