"""Which versions a model's base path asks for: folder names, and the version policy over them.

Names that are no integers are ignored (so a push may write beside and rename); `007` is 7, and `+7`
is none.
"""

from __future__ import annotations

import os
import re

from serving.config.model_config import ModelSource

_INTEGER = re.compile(r"\s*-?[0-9]+\s*", re.ASCII)
_INT64 = range(-(2**63), 2**63)


class BasePathError(OSError):
    """The base path can't be listed; what is served stays as it is until it can be again."""


def wanted_versions(source: ModelSource) -> dict[int, str]:
    """Version number to folder, for every version that should be served.

    Raises:
        BasePathError: the base path is missing or unreadable.
    """
    found = _versions_on_disk(source)
    policy = source.policy.WhichOneof("policy_choice")
    if policy == "all":
        return found
    if policy == "specific":
        chosen = set(source.policy.specific.versions)
        return {version: path for version, path in found.items() if version in chosen}
    count = max(source.policy.latest.num_versions, 1)
    return {version: found[version] for version in sorted(found)[-count:]}


def _versions_on_disk(source: ModelSource) -> dict[int, str]:
    try:
        names = sorted(os.listdir(source.base_path))
    except OSError as error:
        raise BasePathError(
            f"Could not find base path {source.base_path} for servable {source.name}"
            f" with error {error.strerror}"
        ) from error
    found = {}
    for name in names:
        if _INTEGER.fullmatch(name) and int(name) in _INT64:
            found[int(name)] = os.path.join(source.base_path, name)
    return found
