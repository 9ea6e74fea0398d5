"""Reads products that arrive after a run, and ids of products that leave."""

from collections.abc import Collection
from typing import NamedTuple

from components.ingestion.folder import DataFile
from components.ingestion.options import DataOptions
from components.ingestion.rows import DUPLICATE, RowFault, id_parser, row_parser
from components.ingestion.set_aside import SetAside, known_to, read_records
from models.products import Product


class Newcomers(NamedTuple):
    """What a file of products holds."""

    products: list[Product]
    set_aside: list[SetAside]


def read_products(file: DataFile, options: DataOptions) -> Newcomers:
    """Reads a file of products; of the rows about one id the first counts.

    Args:
      file: of the table `items`.
      options: of the run whose model is to take them in.

    Raises:
      BadInput: too many rows were set aside, or no row is left.
    """
    seen: set[str] = set()

    def check(item: str) -> None:
        if item in seen:
            raise RowFault(DUPLICATE, "item_id", item)
        seen.add(item)

    parse = row_parser(file, options, None)
    records, set_aside = read_records(file, options, parse=parse, check=check)
    return Newcomers([Product(item, *values) for item, values in records], set_aside)


def read_withdrawn(
    file: DataFile, options: DataOptions, catalogue: Collection[str]
) -> tuple[list[str], list[SetAside]]:
    """Reads a file of ids of items on the shelf.

    Args:
      file: of the table `items`; only its ids are looked at.
      options: of the run whose model it is.
      catalogue: ids of the items that the model knows.

    Raises:
      BadInput: too many rows were set aside, or no row is left.
    """
    records, set_aside = read_records(
        file, options, parse=id_parser(file, options), check=known_to(catalogue)
    )
    return [item for item, _ in records], set_aside
