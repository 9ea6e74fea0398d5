"""The options of ingestion: the `data` section of the configuration, all but its `path`.

There are no defaults here. Every value comes from the configuration file, where it is explained.
"""

import os

from pydantic import Field, model_validator

from models.errors import BadInput
from models.section import Section


class DataOptions(Section):
    """How a data folder is validated, split and rendered."""

    rating_min: float | None = Field(
        description="Lowest value of the rating scale, mapped to 0; null takes it from the data."
    )
    rating_max: float | None = Field(
        description="Highest value of the rating scale, mapped to 1; null takes it from the data."
    )
    history_length: int = Field(
        ge=1, le=1000, description="Earlier items an interaction carries, at most."
    )
    max_text_length: int = Field(
        ge=1, le=100_000, description="Characters of a text; a longer one sets its row aside."
    )
    max_quarantined_share: float = Field(
        ge=0, le=1, description="Share of a file's rows set aside above which the run stops."
    )
    pseudonym_key: str | None = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable with the key for user ids; null keeps ids.",
    )
    new_item_share: float = Field(
        ge=0, lt=1, description="Share of the items with interactions that is held out as if new."
    )
    eval_user_share: float = Field(
        ge=0, le=1, description="Share of the users whose latest items are held out."
    )
    eval_tail_share: float = Field(
        gt=0, lt=1, description="Share of such a user's items, at least one of them."
    )
    split_salt: str = Field(description="Changes every hash split.")

    def splits(self) -> dict[str, float | str]:
        """What decides which split an interaction goes to."""
        return self.model_dump(
            include={"new_item_share", "eval_user_share", "eval_tail_share", "split_salt"}
        )

    @model_validator(mode="after")
    def _scale_is_not_empty(self) -> "DataOptions":
        low, high = self.rating_min, self.rating_max
        if low is not None and high is not None and low >= high:
            raise ValueError(f"rating_min ({low:g}) must be below rating_max ({high:g})")
        return self


def read_pseudonym_key(options: DataOptions) -> bytes | None:
    """Returns the key for user ids, or None where they are kept as they are.

    Raises:
      BadInput: the environment variable is missing or empty.
    """
    if options.pseudonym_key is None:
        return None
    key = os.environ.get(options.pseudonym_key, "")
    if not key:
        raise BadInput(
            f"data.pseudonym_key names the environment variable {options.pseudonym_key}, which is "
            "not set. Export it with the key for user ids, or set data.pseudonym_key to null to "
            "keep the ids as they are."
        )
    return key.encode()
