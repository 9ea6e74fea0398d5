"""The labels of a root for one server: a `models.config` of its own, which follows the root's.

The root's names the versions by the path that the last push saw them at. A server may see them at
another one, as where a volume is mounted twice, and may have no right to write there.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from models.errors import BadInput
from serving.version_labels import config_file, read_labels, write_labels

_log = logging.getLogger(__name__)
# Often, because the server reads the copy in steps of its own after that.
_POLL_SECONDS: Final = 0.2


@contextmanager
def own_labels(base: Path) -> Iterator[Path]:
    """A file with the labels of the versions under `base`, as of now until it is no longer needed.

    Args:
        base: the folder of the version folders, which is only read.
    """
    with tempfile.TemporaryDirectory(prefix="debut-serve-") as folder:
        # The file is written beside the folder that it names.
        seen = Path(folder) / base.name
        seen.symlink_to(base.absolute())
        write_labels(seen, read_labels(base))
        stopping = threading.Event()
        following = threading.Thread(target=_follow, args=(base, seen, stopping), daemon=True)
        following.start()
        try:
            yield config_file(seen)
        finally:
            stopping.set()
            following.join()


def _follow(base: Path, seen: Path, stopping: threading.Event) -> None:
    while not stopping.wait(_POLL_SECONDS):
        try:
            labels = read_labels(base)
            if labels:  # none where a volume is away for a moment
                write_labels(seen, labels)
        except (OSError, BadInput) as error:
            _log.warning("The labels of %s can't be read, the last ones hold: %s", base, error)
