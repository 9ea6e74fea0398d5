"""Checks the machine: one function a check, each with what was found and what to do about it.

`fail` is what Debut can't run without, `warn` what will be slower or needs a flag.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from models.encoders.folder import PACKAGED, open_encoder
from models.errors import BadInput
from serving.addresses import try_port

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

_DISTRIBUTION: Final = "debut"
_GIB: Final = 1024**3
_CORES: Final = 2
_RUN_MEMORY: Final = 8.0  # GiB; a run on the sample stays below
_LEAST_MEMORY: Final = 3.0
_RUN_DISK: Final = 2.0
_LEAST_DISK: Final = 0.5
_PORTS: Final = {8500: "--grpc-port", 8501: "--rest-port"}
_CGROUP: Final = Path("/sys/fs/cgroup")
_NVIDIA: Final = Path("/dev/nvidia0")


class Finding(NamedTuple):
    """One check's outcome; `remedy` is empty where nothing is to be done."""

    check: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """All checks, in the order in which a fault in one explains those after it."""
    return [
        _interpreter(),
        _packages(),
        _encoder(),
        _cores(),
        _memory(),
        _disk(),
        _accelerator(),
        *(_port(port, option) for port, option in _PORTS.items()),
        _docker(),
        _model_server(),
    ]


def _interpreter() -> Finding:
    version = platform.python_version()
    wanted = metadata.metadata(_DISTRIBUTION)["Requires-Python"]
    if version in SpecifierSet(wanted):
        return Finding("interpreter", OK, f"Python {version}")
    return Finding(
        "interpreter",
        FAIL,
        f"Python {version}",
        f"Install Python {wanted} and set Debut up with it.",
    )


def _packages() -> Finding:
    wanted = [
        requirement
        for requirement in map(Requirement, metadata.requires(_DISTRIBUTION) or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]
    faults = list(_outside_ranges(wanted))
    if faults:
        return Finding(
            "packages", FAIL, "; ".join(faults), "Install what requirements.lock names: `make run`."
        )
    return Finding("packages", OK, f"{len(wanted)} of {len(wanted)} within their ranges")


def _outside_ranges(wanted: list[Requirement]) -> Iterator[str]:
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, needs {requirement.specifier}"


def _encoder() -> Finding:
    try:
        folder = open_encoder(PACKAGED)
    except BadInput as error:
        return Finding("encoder weights", FAIL, f"no usable {PACKAGED}", str(error))
    return Finding(
        "encoder weights",
        OK,
        f"{PACKAGED}: {folder.num_layers} layers, {folder.hidden_size} wide, checksum right",
    )


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0))
    if cores < _CORES:
        return Finding("cores", WARN, str(cores), "It works, but a run takes about twice as long.")
    return Finding("cores", OK, str(cores))


def _memory() -> Finding:
    free = _free_memory() / _GIB
    return _amount(
        "memory", free, needed=_RUN_MEMORY, least=_LEAST_MEMORY, what="End other programs"
    )


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    return _amount(
        "disk", free, needed=_RUN_DISK, least=_LEAST_DISK, what="Make room, or give another --root"
    )


def _amount(check: str, free: float, *, needed: float, least: float, what: str) -> Finding:
    found = f"{free:.1f} GiB free"
    if free >= needed:
        return Finding(check, OK, found)
    remedy = f"{what}: a run on the sample takes up to {needed:g} GiB."
    return Finding(check, WARN if free >= least else FAIL, found, remedy)


def _free_memory() -> int:
    """Bytes that a process can still take, whatever holds it."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    limit = _CGROUP / "memory.max"
    if limit.exists() and (allowed := limit.read_text().strip()) != "max":
        available = min(available, max(int(allowed) - _taken_in_container(), 0))
    return available


def _taken_in_container() -> int:
    """Bytes that the processes of this container hold, without files that the kernel can drop."""
    stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    return int((_CGROUP / "memory.current").read_text()) - int(stat["inactive_file"])


def _accelerator() -> Finding:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as error:
        return Finding(
            "accelerator", FAIL, f"TensorFlow can't be imported: {error}", "Set Debut up anew."
        )
    names = [
        device.name for device in tf.config.list_physical_devices() if device.device_type != "CPU"
    ]
    if names:
        return Finding("accelerator", OK, ", ".join(names))
    if _NVIDIA.exists():
        return Finding(
            "accelerator",
            WARN,
            "an NVIDIA GPU that TensorFlow doesn't see",
            "Install the CUDA libraries that TensorFlow 2.16 wants, or run on the CPU.",
        )
    return Finding("accelerator", OK, "none; the CPU is used")


def _port(port: int, option: str) -> Finding:
    try:
        try_port("127.0.0.1", port)
    except OSError as error:
        return Finding(
            f"port {port}",
            WARN,
            error.strerror or str(error),
            f"If that is no model server of yours: debut serve {option} PORT.",
        )
    return Finding(f"port {port}", OK, "free")


def _docker() -> Finding:
    from serving import launcher

    if not shutil.which("docker"):
        return Finding("Docker", OK, "not installed; not needed")
    try:
        launcher.choose("docker")
    except BadInput:
        return Finding(
            "Docker", WARN, "installed, but no daemon answers", "Start it to use --engine docker."
        )
    return Finding("Docker", OK, "answers")


def _model_server() -> Finding:
    from serving import launcher

    engine = launcher.choose("auto")
    path = shutil.which(launcher.BINARY)
    found = path or f"no {launcher.BINARY} on the PATH; `debut serve` takes {engine}"
    return Finding("model server", OK, found)
