"""A pool of Beam workers beside the runner, as a cluster has them (`EXTERNAL`).

A job gets one worker of it from Prism, and one for each TaskManager from Flink.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from serving.ports import free_port

REPOSITORY = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Of workers and of what asks for them: the pool starts the first `python` on the path."""
    programs = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


@dataclass
class Pool:
    """A running pool.

    Attributes:
        port: where runners ask for workers.
        most: workers that ran at the same time, at most.
    """

    port: int
    process: int
    most: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def flags(self) -> list[str]:
        """What a pipeline is given to use the pool."""
        return [
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self.port}",
        ]

    def workers(self) -> list[int]:
        """Process ids of the workers that run now."""
        found: list[int] = []
        for children in Path(f"/proc/{self.process}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # a thread that ended meanwhile
                continue
        return found

    def watch(self) -> None:
        """Count workers until the pool ends."""
        while not self.done.wait(0.2):
            self.most = max(self.most, len(self.workers()))


@contextmanager
def worker_pool(log: Path) -> Iterator[Pool]:
    """Workers until they are no longer needed; what they say goes to a file."""
    port = free_port()
    with log.open("w") as said:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main",
                f"--service_port={port}",
            ],
            env=environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    pool = Pool(port, process.pid)
    watching = threading.Thread(target=pool.watch)
    watching.start()
    try:
        yield pool
    finally:
        pool.done.set()
        watching.join()
        # The pool leaves its workers behind, whatever ends it but Ctrl-C.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
