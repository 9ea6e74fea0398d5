"""A Flink cluster on this machine: a JobManager and two TaskManagers, each a Java process.

PyPI's `apache-flink-libraries` has the jars and no scripts, so the commands are those that Flink's
`jobmanager.sh` and `taskmanager.sh` end in. Beam's job server, which translates pipelines, is not
among them: `job_server` says where it comes from, or why it can't be had.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer

from pipeline.beam_profiles import beam_pipeline_args
from serving.ports import free_port
from tests.portable.prism import cache

FLINK = "1.20.5"
TASK_MANAGERS = 2
# Given by whoever has one.
JAR, ENDPOINT = "FLINK_JOB_SERVER_JAR", "FLINK_JOB_ENDPOINT"

_INSTALL_SECONDS = 1200
_START_SECONDS = 120
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"


@functools.cache
def libraries() -> tuple[Path | None, str]:
    """Flink's folder, kept in the user's cache, or nothing and why there is none."""
    if shutil.which("java") is None:
        return None, "Flink needs Java, which is not installed"
    kept = cache() / f"flink-{FLINK}"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            answer = subprocess.run(
                [
                    sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--target", scratch,
                    f"apache-flink-libraries=={FLINK}",
                ],
                capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False,
            )  # fmt: skip
            if answer.returncode:
                *_, said = answer.stderr.strip().splitlines() or ["it says nothing"]
                return None, f"apache-flink-libraries can't be installed: {said}"
            Path(scratch, "pyflink").rename(kept)
    return kept, ""


@functools.cache
def job_server() -> tuple[list[str], str]:
    """Flags that give Beam its job server, or nothing and why there is none."""
    if endpoint := os.environ.get(ENDPOINT):
        return [f"--job_endpoint={endpoint}"], ""
    if jar := os.environ.get(JAR):
        return [f"--flink_job_server_jar={jar}"], ""
    args = beam_pipeline_args("flink", ["--flink_master=localhost:8081"])
    server = FlinkJarJobServer(PipelineOptions(args))
    address = server.path_to_jar()
    try:
        return [f"--flink_job_server_jar={server.local_jar(address)}"], ""
    except (RuntimeError, OSError) as error:
        return [], (
            f"Beam's Flink job server can't be fetched ({error}); give its jar by {JAR}, or a "
            f"running one by {ENDPOINT}=HOST:PORT"
        )


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        rest: port of the JobManager's REST API.
        processes: the JobManager, then the TaskManagers.
    """

    rest: int
    processes: list["subprocess.Popen[bytes]"]

    @property
    def flags(self) -> list[str]:
        """What a pipeline is given to run there."""
        return [f"--flink_master=localhost:{self.rest}", f"--parallelism={TASK_MANAGERS}"]

    def overview(self) -> dict[str, int | str]:
        """What the JobManager says of itself; nothing while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://localhost:{self.rest}/overview") as answer:
                found: dict[str, int | str] = json.load(answer)
                return found
        except OSError:
            return {}


@contextmanager
def cluster(home: Path, folder: Path) -> Iterator[Cluster]:
    """A cluster until it is no longer needed; logs and configuration go to a folder."""
    rest = free_port()
    _configure(home, folder, rest)
    running = Cluster(rest, [])
    try:
        running.processes.append(_job_manager(home, folder))
        for number in range(TASK_MANAGERS):
            running.processes.append(_task_manager(home, folder, number))
        deadline = time.monotonic() + _START_SECONDS
        while running.overview().get("taskmanagers") != TASK_MANAGERS:
            ended = [process.args for process in running.processes if process.poll() is not None]
            assert not ended and time.monotonic() < deadline, (folder, ended)
            time.sleep(0.2)
        yield running
    finally:
        for process in reversed(running.processes):
            process.kill()
            process.wait()


def _configure(home: Path, folder: Path, rest: int) -> None:
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": free_port(),
        "jobmanager.bind-host": "localhost",
        "jobmanager.memory.process.size": "768m",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest,
        "taskmanager.bind-host": "localhost",
        "taskmanager.host": "localhost",
        "taskmanager.numberOfTaskSlots": 1,
        "taskmanager.memory.process.size": "1g",
        "parallelism.default": TASK_MANAGERS,
        "io.tmp.dirs": str(folder),
    }
    text = "".join(f"{name}: {value}\n" for name, value in settings.items())
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def _job_manager(home: Path, folder: Path) -> "subprocess.Popen[bytes]":
    jvm, dynamic = _resources(home, folder, "GET_JM_RESOURCE_PARAMS")
    entry = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
    return _java(home, folder, "jobmanager", [*jvm], [entry, "--configDir", str(folder), *dynamic])


def _task_manager(home: Path, folder: Path, number: int) -> "subprocess.Popen[bytes]":
    jvm, dynamic = _resources(home, folder, "GET_TM_RESOURCE_PARAMS")
    entry = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
    return _java(
        home, folder, f"taskmanager-{number}", jvm,
        [entry, "--configDir", str(folder), *dynamic, "-D", f"taskmanager.resource-id=tm-{number}"],
    )  # fmt: skip


def _resources(home: Path, folder: Path, what: str) -> tuple[list[str], list[str]]:
    """Memory flags of a JVM, and settings that go with them, as Flink works them out."""
    answer = subprocess.run(
        [
            "java", "-cp", f"{home}/bin/bash-java-utils.jar:{home}/lib/*",
            "org.apache.flink.runtime.util.bash.BashJavaUtils", what, "--configDir", str(folder),
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    jvm, dynamic = (
        line.removeprefix(_RESULT).split()
        for line in answer.stdout.splitlines()
        if line.startswith(_RESULT)
    )
    return jvm, dynamic


def _java(
    home: Path, folder: Path, name: str, jvm: list[str], arguments: list[str]
) -> "subprocess.Popen[bytes]":
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            ["java", *jvm, *_OPENED, "-cp", f"{home}/lib/*", *arguments],
            env=os.environ | {"FLINK_CONF_DIR": str(folder)}, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


# What Flink's own configuration opens for Java 17.
_OPENED = [
    f"--add-{kind}={package}=ALL-UNNAMED"
    for kind, packages in {
        "exports": (
            "java.base/sun.net.util", "java.rmi/sun.rmi.registry",
            "java.security.jgss/sun.security.krb5",
        ),
        "opens": (
            "java.base/java.lang", "java.base/java.net", "java.base/java.io", "java.base/java.nio",
            "java.base/sun.nio.ch", "java.base/java.lang.reflect", "java.base/java.text",
            "java.base/java.time", "java.base/java.util", "java.base/java.util.concurrent",
            "java.base/java.util.concurrent.atomic", "java.base/java.util.concurrent.locks",
        ),
    }.items()
    for package in packages
]  # fmt: skip
