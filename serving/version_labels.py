"""`models.config`: which version each label names, in the form that model servers read.

The stock server gives a label only to a version that answers, unless
`--allow_version_labels_for_unavailable_models` lets a *new* label point elsewhere; a label that
moves must always wait, and with it the whole file. So a file for any number of servers can't name
the versions to load: a server that loads those alone which the last file named would refuse the
next one for ever. The file asks for the newest, and for one more than the labels reach back to: the
version that a label leaves has to stay loaded until the server has read the file again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2 as config_pb2

from models.errors import BadInput
from serving.on_disk import write_at_once

STABLE: Final = "stable"
CANARY: Final = "canary"
POLL_SECONDS: Final = 1
"""How often a server that `debut serve` starts reads the file again."""

_HEADER: Final = """\
# ModelServerConfig, written by Debut at each push, rollback and promotion; don't edit it.
# It is for --model_config_file, with --model_config_file_poll_wait_seconds and
# --allow_version_labels_for_unavailable_models.
"""


def config_file(base: Path) -> Path:
    """The file that names the labels of the versions under `base`."""
    return base.parent / "models.config"


def versions_on_disk(base: Path) -> list[int]:
    """The numbers of the version folders, newest first."""
    if not base.is_dir():
        return []
    found = (int(path.name) for path in base.iterdir() if path.name.isdigit() and path.is_dir())
    return sorted(found, reverse=True)


def read_labels(base: Path) -> dict[str, int]:
    """Label to version, of the versions that are there.

    Without the file, as in a root of an older Debut, the newest version is the stable one.

    Raises:
        BadInput: the file is none that a push wrote.
    """
    versions = versions_on_disk(base)
    if not versions:
        return {}
    labels = {label: number for label, number in _written(base).items() if number in versions}
    rest = [number for number in versions if number != labels.get(CANARY)]
    if STABLE not in labels:
        labels[STABLE] = (rest or versions)[0]
    if labels.get(CANARY) == labels[STABLE]:
        del labels[CANARY]
    return labels


def write_labels(base: Path, labels: Mapping[str, int]) -> Path:
    """Replace the file at once; a server never reads half of it.

    Args:
        base: the folder of the version folders, whose name is the model's.
        labels: label to a version that is there.

    Returns:
        The file.
    """
    versions = versions_on_disk(base)
    config = config_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name=base.name, base_path=str(base.absolute()), model_platform="tensorflow"
    )
    reach = max((versions.index(number) + 1 for number in labels.values()), default=1)
    model.model_version_policy.latest.num_versions = reach + 1
    for label, number in sorted(labels.items()):
        model.version_labels[label] = number
    text = _HEADER + text_format.MessageToString(config)
    file = config_file(base)
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return file  # also where nobody may write
    write_at_once(file, text)
    return file


def _written(base: Path) -> dict[str, int]:
    file = config_file(base)
    if not file.is_file():
        return {}
    try:
        config = text_format.Parse(file.read_bytes(), config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file} does not say which versions have a label ({error}). Put it back as a push "
            "wrote it, or remove it: then the newest version is the stable one."
        ) from error
    return {
        label: number
        for model in config.model_config_list.config
        if model.name == base.name
        for label, number in model.version_labels.items()
    }
