"""Prism, Beam's portable runner for one machine: built once by Go, then kept in a cache."""

import functools
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = importlib.metadata.version("apache-beam")
SOURCE = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{VERSION}"
_BUILD_SECONDS = 1200


@functools.cache
def prism() -> tuple[Path | None, str]:
    """The program, or nothing and why there is none."""
    kept = cache() / f"prism-{VERSION}"
    if kept.is_file():
        return kept, ""
    if shutil.which("go") is None:
        return None, "Prism is built by Go, which is not installed"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        answer = subprocess.run(
            ["nice", "go", "install", SOURCE],
            env=os.environ | {"GOBIN": scratch},
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if answer.returncode:
            *_, said = answer.stderr.strip().splitlines() or ["it says nothing"]
            return None, f"Go can't build Prism: {said}"
        Path(scratch, "prism").replace(kept)
    return kept, ""


def cache() -> Path:
    """Where programs are kept that take long to come by."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "debut")


if __name__ == "__main__":
    print(*filter(None, prism()))
