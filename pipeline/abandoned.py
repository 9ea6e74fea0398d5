"""What a killed run left in a root is cleared before the next.

TFX never looks at an execution again that did not end: it takes finished nodes from its cache and
gives the others new folders. So what a killed run was at would say RUNNING for ever, and its
half-written folders would stay.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.metadata_store import open_store
from pipeline.layout import artifacts_folder, metadata_file


def clear_abandoned(root: Path) -> int:
    """Mark executions that never ended as canceled, and remove what they had begun to write.

    Call it while `lock.alone` holds the root: nothing that is under way may be taken for abandoned.

    Returns:
        How many there were.
    """
    metadata = metadata_file(root)
    if not metadata.is_file():
        return 0
    store = open_store(metadata)
    abandoned = [
        execution
        for execution in store.get_executions()
        if execution.last_known_state == mlmd.Execution.RUNNING
    ]
    for execution in abandoned:
        for pattern in ("*/*", "*/.system/*"):
            for folder in artifacts_folder(root).glob(f"{pattern}/{execution.id}"):
                shutil.rmtree(folder)
        execution.last_known_state = mlmd.Execution.CANCELED
    if abandoned:
        store.put_executions(abandoned)
    return len(abandoned)
