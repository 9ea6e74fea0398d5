"""Whether the wording of a title alone moves scores by more than a bound.

Each word is put behind the titles of the same products, and all are scored by the same users as if
they were new. Ends with 3 where a word moves the scores more than the bound says.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import click
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers ops of the graph)

from benchmarks.root_option import root_option
from components.catalogue.update import DataTerms
from components.ingestion.folder import ITEMS, open_folder
from components.ingestion.newcomers import read_products
from models.debiasing.wording import wording_shifts
from models.errors import BadInput, Refused
from models.products import Product
from models.shelf.admission import Admission
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.layout import SAMPLE, serving_folder
from pipeline.newest import newest_version
from pipeline.pushed import read_terms

# Words that say whom a product is meant for, and not what it is.
DEMOGRAPHIC: Final = ("women", "men", "ladies", "gentlemen", "girls", "boys", "kids", "seniors")


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks wording --root runs
  python -m benchmarks wording --root runs --word acme --word premium --bound 0.1""",
)
@root_option
@click.option("--data", type=PATH, default=SAMPLE, help="Its data folder  [default: the sample]")
@click.option("--word", "words", multiple=True, help="Repeatable  [default: whom it is for]")
@click.option("--bound", type=float, default=0.3, show_default=True, help="In logits, on average.")
@click.option("--products", type=int, default=100, show_default=True, help="New ones, at most.")
def wording(root: Path, data: Path, words: tuple[str, ...], bound: float, products: int) -> None:
    """Add words to titles, brand names or whom a product is for, and see whether scores move."""
    console = open_console()
    version = newest_version(serving_folder(root))
    with console.status("Scoring"):
        model = tf.saved_model.load(str(version))
        chosen = _new_products(model, read_terms(root, version), data, products)
        admission = Admission.load(version, model._shelf)
        shifts = wording_shifts(model, admission, chosen, words or DEMOGRAPHIC)
    table = new_table("word", "mean shift", "up or down", "most of a product", "its title",
                      numbers_from=1)  # fmt: skip
    for shift in shifts:
        table.add_row(
            shift.word, f"{shift.mean:.3f}", f"{shift.drift:+.3f}", f"{shift.worst:.3f}",
            shift.title,
        )  # fmt: skip
    print_table(console, f"Logits of {len(chosen)} new products by one more word", table)
    beyond = [shift.word for shift in shifts if shift.mean > bound]
    if beyond:
        raise Refused(
            f"Of {', '.join(beyond)} alone scores move by more than {bound:g} on average. Leave "
            "such words out of titles, or raise --bound."
        )
    console.print(f"No word moves scores by more than {bound:g} on average.")


def _new_products(model: object, terms: DataTerms, data: Path, count: int) -> list[Product]:
    files = [file for file in open_folder(data).files if file.table == ITEMS]
    described = {
        item.item: item for file in files for item in read_products(file, terms.options)[0]
    }
    shelf = model._shelf  # type: ignore[attr-defined]
    ids = shelf.item_id.numpy()[shelf.is_new.numpy()].tolist()
    new = [described[item.decode()] for item in ids if item.decode() in described]
    if not new:
        raise BadInput(f"No new product of the model stands in {data}. Give --data its folder.")
    return random.Random(0).sample(new, min(count, len(new)))
