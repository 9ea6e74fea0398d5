"""Keeps the rows that made a run refuse its data, where TFX leaves them.

TFX removes the outputs of a node that fails, and with them the quarantine to look into.
"""

import os

from tfx.dsl.io import fileio

_FOLDER = "refused"


def keep_rows(quarantine: str, pattern: str) -> str:
    """Copies files of a quarantine beside it, in place of those of an earlier refusal.

    Args:
      quarantine: URI of the artifact.
      pattern: of the names of the files.

    Returns:
      The folder that holds them, complete.
    """
    folder = os.path.join(os.path.dirname(quarantine.rstrip("/")), _FOLDER)
    if fileio.exists(folder):
        fileio.rmtree(folder)
    fileio.makedirs(folder)
    for path in fileio.glob(os.path.join(quarantine, pattern)):
        fileio.copy(path, os.path.join(folder, os.path.basename(path)))
    return folder
