"""Beam runner profiles: the flags that choose a runner, by the name that `run.beam_runner` takes.

A profile holds what is the same everywhere. What differs from shop to shop, such as the address of
a cluster, comes from `run.beam_args`; `fault` tells what a profile can't do without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

BeamRunner = Literal["direct", "multi_process", "prism", "flink", "spark", "dataflow"]

# Given any image, TFX does not package itself for the workers at every node, which takes seconds
# and which workers that have the environment don't need.
_NO_PACKAGE: Final = "--sdk_container_image=none"
# Workers that run already; `worker_pool_main` starts them.
_POOL: Final = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")

PROFILES: Final[Mapping[BeamRunner, tuple[str, ...]]] = {
    # In this process. Left to itself Beam's DirectRunner, whatever its running mode, fetches Prism
    # first where it can (apache_beam 2.74, `SwitchingDirectRunner.run_pipeline`), so its successor
    # for one process is named.
    "direct": ("--runner=FnApiRunner", "--direct_running_mode=in_memory", _NO_PACKAGE),
    # A process for each core.
    "multi_process": (
        "--runner=FnApiRunner",
        "--direct_running_mode=multi_processing",
        "--direct_num_workers=0",
        _NO_PACKAGE,
    ),
    # Beam's own portable runner on one machine; fetched by Beam without --prism_location. Its jobs
    # end, whatever they do, with the timeout of requests (apache_beam 2.74, `JobServiceHandle.run`;
    # apache/beam#35867), which is five minutes unless said otherwise. Here it is a day.
    "prism": (
        "--runner=PrismRunner",
        "--environment_type=LOOPBACK",
        "--job_server_timeout=86400",
        _NO_PACKAGE,
    ),
    "flink": ("--runner=FlinkRunner", "--flink_version=1.20", *_POOL, _NO_PACKAGE),
    "spark": ("--runner=SparkRunner", "--spark_version=3", *_POOL, _NO_PACKAGE),
    "dataflow": ("--runner=DataflowRunner",),
}

# Of each group one flag must be given.
_NEEDED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "flink": (("--flink_master", "--job_endpoint"),),
    "spark": (("--spark_master_url", "--job_endpoint"),),
    "dataflow": (("--project",), ("--region",), ("--temp_location",), ("--sdk_container_image",)),
}
_LOSES_ROWS: Final = "multi_threading"


def beam_pipeline_args(runner: BeamRunner, added: Sequence[str]) -> list[str]:
    """The flags of a profile with those added; of a flag given twice Beam takes the last."""
    return [*PROFILES[runner], *added]


def fault(runner: BeamRunner, added: Sequence[str]) -> str:
    """Why a pipeline can't run so, and what to do; empty where it can."""
    given = _given(added)
    if given.get("--direct_running_mode") == _LOSES_ROWS:
        return f"{_LOSES_ROWS} has lost rows without an error; use the runner multi_process"
    groups = _NEEDED.get(runner, ())
    lacking = [" or ".join(group) for group in groups if not given.keys() & set(group)]
    if lacking:
        return f"the runner {runner} needs {', '.join(lacking)} in run.beam_args"
    return ""


def _given(args: Sequence[str]) -> dict[str, str]:
    """Flags with their last values, each written as `--flag=value` or as `--flag value`."""
    given: dict[str, str] = {}
    flag = ""
    for arg in args:
        if arg.startswith("--"):
            flag, _, value = arg.partition("=")
            given[flag] = value
        else:
            given[flag] = arg
    return given
