"""Keeps the rows that made a run refuse its data, where TFX leaves them.

TFX removes the outputs of a node that fails, and with them the quarantine to look into.
"""

import shutil
from pathlib import Path

from components.whole_folders import put_at_once, remove_at_once, written_beside

_FOLDER = "refused"


def keep_rows(quarantine: Path, pattern: str) -> Path:
    """Copies files of a quarantine beside it, in place of those of an earlier refusal.

    Args:
      quarantine: folder of the artifact.
      pattern: of the names of the files.

    Returns:
      The folder that holds them, complete.
    """
    folder = quarantine.parent / _FOLDER
    with written_beside(folder.parent) as copy:
        copy.mkdir()
        for file in quarantine.glob(pattern):
            shutil.copy2(file, copy)
        if folder.exists():
            remove_at_once(folder)
        put_at_once(copy, folder)
    return folder
