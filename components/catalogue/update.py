"""Makes a version of another one with products added, changed or withdrawn, without training.

One mechanism for the command line and for the pipeline: read and check the files, change the shelf
of the loaded model, ask the gate, save.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops

from components.catalogue.describing import describe_products
from components.catalogue.gate import Gate, Loaded
from components.ingestion.folder import INTERACTIONS, ITEMS, open_table
from components.ingestion.newcomers import read_products, read_withdrawn
from components.ingestion.options import DataOptions, read_pseudonym_key
from components.ingestion.set_aside import SetAside
from components.ingestion.summary import RatingScale
from components.ingestion.support import read_support
from components.shelf_change import Check, save_changed, users_of
from models.candidates.building import reindexed
from models.errors import BadInput, Refused
from models.export.quick_calls import quick_first_calls
from models.garbage import seldom_collected
from models.products import Described, Product
from models.rules import Rules
from models.shelf.admission import FILE, Admission
from models.shelf.intake import Intake, NewValues, assign, take_in
from models.shelf.newcomers import Placed, place, refreshed, reordered, withdraw
from models.shelf.pushed_columns import open_columns
from models.shelf.taken_in import FirstInteraction, TakenIn


class DataTerms(NamedTuple):
    """How a run read its data."""

    options: DataOptions
    scale: RatingScale

    def to_json(self) -> str:
        """As a property of a component."""
        return json.dumps({"options": self.options.model_dump(), "scale": self.scale._asdict()})

    @classmethod
    def from_json(cls, text: str) -> DataTerms:
        """What `to_json` wrote."""
        terms = json.loads(text)
        return cls(DataOptions.model_validate(terms["options"]), RatingScale(**terms["scale"]))


class Change(NamedTuple):
    """What is to change; at least one of it.

    Attributes:
        items: file of products to add or update.
        interactions: file of interactions to take in.
        withdrawn: ids of items to withdraw.
        withdrawn_file: file of such ids.
    """

    items: Path | None = None
    interactions: Path | None = None
    withdrawn: tuple[str, ...] = ()
    withdrawn_file: Path | None = None

    def to_json(self) -> str:
        """As a property of a component."""
        return json.dumps(
            {name: value for name, value in self._asdict().items() if value}, default=str
        )

    @classmethod
    def from_json(cls, text: str) -> Change:
        """What `to_json` wrote."""
        values = json.loads(text)
        withdrawn = tuple(values.pop("withdrawn", ()))
        files = {name: Path(value) for name, value in values.items()}
        return cls(**files, withdrawn=withdrawn)


class Updated(NamedTuple):
    """What `update` did.

    Attributes:
        added: products that came to the shelf.
        realigned: products whose changed texts decide what they inherit.
        embedded: products of which only the embedding changed.
        interactions: how many were taken in.
        repeated: how many had been taken in before, or stood twice.
        adapted: items that first interactions adapted.
        of_training: items that they did not, because training knew them.
        purchases: pairs of a known user and an item.
        withdrawn: items that were withdrawn by id.
        set_aside: rows that could not be used.
        embedding_seconds: of the encoder; meanwhile what new products need is read from its file,
            and what of it needs no product is computed.
        shelf_seconds: of all else that fills the shelf.
    """

    added: int
    realigned: int
    embedded: int
    interactions: int
    repeated: int
    adapted: int
    of_training: int
    purchases: int
    withdrawn: int
    set_aside: list[SetAside]
    embedding_seconds: float
    shelf_seconds: float


class _Read(NamedTuple):
    products: list[Product]
    interactions: list[FirstInteraction]
    withdrawn: list[str]
    set_aside: list[SetAside]


@quick_first_calls()
@seldom_collected()
def update(
    base: Path, change: Change, terms: DataTerms, *, candidate: Path, beam_args: Sequence[str] = ()
) -> tuple[Updated, Check]:
    """Save a changed version.

    Args:
        base: the version it is made of.
        change: what is to change.
        terms: of the run that trained it.
        candidate: folder of the new version, which does not exist yet; every Beam worker must be
            able to write beside it.
        beam_args: of the pipeline that describes many products.

    Returns:
        What was done, and the gate for whoever serves the version.

    Raises:
        BadInput: a file can't be used.
        Refused: the version is too old.
    """
    if not (base / FILE).is_file():
        raise Refused(
            f"{base} was trained before Debut could add products to it. Run `debut run` again."
        )
    rules = Rules.load(base)
    if not any(change) and rules is None:
        raise BadInput(f"{base} was made without rules, so there is nothing to refresh.")
    # Alone, because bad input should not have to wait for the model.
    ids = [item.decode() for item in open_columns(base)("item_id")]
    given = _read(change, terms, set(ids))
    model = tf.saved_model.load(str(base))
    if not hasattr(model._shelf, "buyers"):
        raise Refused(
            f"{base} was trained before Debut kept an index of buyers. Run `debut run` again."
        )
    users = users_of(base)
    products = {product.item for product in given.products}
    gate = Gate(
        Loaded(model), users=users, items=ids,
        named=products | {i.item for i in given.interactions},
        touched=_with(model, users, [row for row, item in enumerate(ids) if item in products]),
        interactions=given.interactions,
    )  # fmt: skip
    start = time.perf_counter()
    with ThreadPoolExecutor(1) as beside:
        # A file as large as the model, and what follows from it before a product is known.
        admission = beside.submit(Admission.load, base, model._shelf) if given.products else None
        described = describe_products(
            base, model, given.products, beam_args, place=candidate.parent
        )  # fmt: skip
    embedded = time.perf_counter()
    before = TakenIn.load(base)
    placed, intake = _change(model, admission, given, described, users, rules, before)
    filled = time.perf_counter()
    check = save_changed(model, base, candidate, gate)
    if intake.fresh:
        before.with_more(intake.fresh).save(candidate)
    return _told(given, placed, intake, embedded - start, filled - embedded), check


def _change(
    model: Any,
    admission: Future[Admission] | None,
    given: _Read,
    described: Described | None,
    users: Sequence[str],
    rules: Rules | None,
    before: TakenIn,
) -> tuple[Placed | None, Intake]:
    """Change the shelf of a loaded model."""
    placed = None
    if described is not None and admission is not None:
        placed = place(model, admission.result(), given.products, described, rules)
        assign(model, placed.columns)
    intake = take_in(
        model, users, given.interactions, before=before,
        again=() if placed is None else placed.heard.tolist(),
    )  # fmt: skip
    assign(model, intake.columns)
    if rules is not None:
        assign(model, of_today(model))
    if given.withdrawn:
        assign(model, withdraw(model, given.withdrawn))
    # Behind all that it depends on, and before the index, which holds the first of the list.
    assign(model, reordered(model))
    changed = [intake.adapted, *([placed.new, placed.realigned] if placed else [])]
    assign(model, reindexed(model._shelf, np.concatenate(changed)))
    return placed, intake


def of_today(model: Any) -> NewValues:
    """`refreshed`, of rules that leave something that is on sale.

    Raises:
        BadInput: they don't.
    """
    columns = refreshed(model)
    available = model._shelf.available.numpy()
    if not (available & columns["rules.allowed"]).any():
        raise BadInput(
            f"As of today, UTC, of {available.sum():,} items on sale the rules leave nothing to "
            "recommend, so nothing was pushed. Correct them in the file that rules.file names and "
            "give `debut run` again, or put items on sale again with `debut items add`."
        )
    return columns


def _read(change: Change, terms: DataTerms, catalogue: set[str]) -> _Read:
    products: list[Product] = []
    interactions: list[FirstInteraction] = []
    set_aside: list[SetAside] = []
    if change.items is not None:
        newcomers = read_products(open_table(change.items, ITEMS), terms.options)
        products, set_aside = newcomers.products, [*newcomers.set_aside]
    if change.interactions is not None:
        support = read_support(
            open_table(change.interactions, INTERACTIONS),
            options=terms.options,
            scale=terms.scale,
            catalogue=catalogue | {product.item for product in products},
            pseudonym_key=read_pseudonym_key(terms.options),
        )
        interactions, set_aside = support.interactions, [*set_aside, *support.set_aside]
    if unknown := [item for item in change.withdrawn if item not in catalogue]:
        raise BadInput(
            f"The model does not know {', '.join(map(repr, unknown))[:200]}, so nothing was "
            "withdrawn. Give ids of items on its shelf."
        )
    withdrawn = list(change.withdrawn)
    if change.withdrawn_file is not None:
        file = open_table(change.withdrawn_file, ITEMS, required=("item_id",))
        more, aside = read_withdrawn(file, terms.options, catalogue)
        withdrawn, set_aside = [*withdrawn, *more], [*set_aside, *aside]
    return _Read(products, interactions, withdrawn, set_aside)


def _with(model: Any, users: Sequence[str], rows: Sequence[int]) -> set[str]:
    """Users with any of some items in their history."""
    buyers = model._shelf.buyers
    user, offset = buyers.user.numpy(), buyers.offset.numpy()
    return {users[one] for row in rows for one in user[offset[row] : offset[row + 1]]}


def _told(
    given: _Read, placed: Placed | None, intake: Intake, embedding: float, shelf: float
) -> Updated:
    return Updated(
        added=0 if placed is None else len(placed.new),
        realigned=0 if placed is None else len(placed.realigned),
        embedded=0 if placed is None else len(placed.anchors) + len(placed.heard),
        interactions=len(intake.fresh),
        repeated=len(given.interactions) - len(intake.fresh),
        adapted=len({one.item for one in intake.fresh}) - len(intake.of_training),
        of_training=len(intake.of_training),
        purchases=len(intake.pairs),
        withdrawn=len(set(given.withdrawn)),
        set_aside=given.set_aside,
        embedding_seconds=embedding,
        shelf_seconds=shelf,
    )
