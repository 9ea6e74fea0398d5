"""Reads interactions that arrive after a run.

What a run knows of the whole data, the rating scale and the catalogue, is given.
"""

from collections.abc import Collection
from typing import NamedTuple

from components.ingestion.folder import DataFile
from components.ingestion.options import DataOptions
from components.ingestion.rows import row_parser
from components.ingestion.set_aside import SetAside, known_to, read_records
from components.ingestion.summary import RatingScale
from models.errors import BadInput
from models.shelf.taken_in import FirstInteraction


class Support(NamedTuple):
    """What a file of interactions holds."""

    interactions: list[FirstInteraction]
    set_aside: list[SetAside]


def read_support(
    file: DataFile,
    *,
    options: DataOptions,
    scale: RatingScale,
    catalogue: Collection[str],
    pseudonym_key: bytes | None,
) -> Support:
    """Reads a file of interactions.

    Args:
      file: of the table `interactions`.
      options: of the run whose model is to take them in.
      scale: of that run's ratings.
      catalogue: ids of the items that the model knows.
      pseudonym_key: of that run, None where it kept the ids.

    Raises:
      BadInput: the run had ratings and the file has none; too many rows were set aside; or no row
        is left.
    """
    if not scale.is_implicit:
        if "rating" not in file.columns:
            raise BadInput(
                f"{file.path} has no column rating, but the data that the model was trained on has "
                "one. Add the column."
            )
        options = options.model_copy(update={"rating_min": scale.low, "rating_max": scale.high})

    records, set_aside = read_records(
        file, options, parse=row_parser(file, options, pseudonym_key), check=known_to(catalogue),
        is_secret=pseudonym_key is not None,
        remedy="; an item must be on the shelf of the model, or be added with --items",
    )  # fmt: skip
    return Support(
        [
            FirstInteraction(item, user, timestamp, scale.apply(rating))
            for item, (user, timestamp, rating, _) in records
        ],
        set_aside,
    )
