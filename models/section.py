"""What people write in a file: a section of the configuration, or of the rules."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Values that do not change; a key that is not known is refused, and so is no finite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
