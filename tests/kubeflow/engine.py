"""Docker or Podman, whichever answers, and a container in place of a process."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.kubeflow.launcher import REPOSITORY

Json = dict[str, Any]

IMAGE = "debut-pipeline"
DOCKERFILE = REPOSITORY / "serving" / "docker" / "pipeline.Dockerfile"


@functools.cache
def engine() -> tuple[str, str]:
    """The program, or nothing and why there is none."""
    reasons = []
    for program in ("docker", "podman"):
        if shutil.which(program) is None:
            reasons.append(f"{program} is not installed")
            continue
        answer = subprocess.run(
            [program, "info"], capture_output=True, text=True, timeout=60, check=False
        )
        if answer.returncode == 0:
            return program, ""
        *_, said = answer.stderr.strip().splitlines() or ["it says nothing"]
        reasons.append(f"{program} does not work: {said}")
    return "", "; ".join(reasons)


def build(*, base: str | None) -> None:
    """Build the image; `base` in place of the one that the Dockerfile names."""
    program, _ = engine()
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    subprocess.run(
        [program, "build", "--file", DOCKERFILE, "--tag", IMAGE, *arguments, REPOSITORY],
        check=True,
    )


def container(
    executor: Json, arguments: list[str], disk: Path, work: Path
) -> "subprocess.CompletedProcess[str]":
    """The container for real, as the image's own user; it sees the folder above `work` as it is.

    Its object stores are those of the task's disk.
    """
    program, _ = engine()
    shared = work.parent
    for path in (shared, *shared.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (disk / "mounts" / "minio").mkdir(exist_ok=True)
    command = [*executor["command"], *arguments]
    return subprocess.run(
        [
            program, "run", "--rm",
            "--volume", f"{shared}:{shared}",
            "--volume", f"{disk}/mounts/minio:/minio",
            "--entrypoint", command[0],
            executor["image"], *command[1:],
        ],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )  # fmt: skip
