"""How a model is pushed, apart from TFX, whose import takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.version_folder import KEEP


@dataclass(frozen=True)
class PushTerms:
    """How a model is pushed; a JSON object in the node's `custom_config`, so the cache knows it.

    Attributes:
        keep: versions that stay; see `push`.
        canary: whether the version becomes the canary only; where there is a `base`, that decides.
        override: why a refusal of Evaluator, or a withdrawal, is passed over; empty for not.
        base: version that the model was made of; empty where a run trained it.
        withdrawn: id of a model that a rollback took out of service, to the reason. JSON has no
            other keys than text.
    """

    keep: int = KEEP
    canary: bool = False
    override: str = ""
    base: str = ""
    withdrawn: Mapping[str, str] = field(default_factory=dict)

    def to_config(self) -> dict[str, Any]:
        """For `custom_config`."""
        return asdict(self)
