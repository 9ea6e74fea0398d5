"""New products and the customers whose lists they reach, asked of the model itself.

Lists are those of a sample of the known users, so a count here is out of the sample, not out of
all customers.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, NamedTuple

import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the text ops of the served graph)

from components.ingestion.folder import INTERACTIONS, ITEMS, DataFolder
from components.ingestion.options import DataOptions, read_pseudonym_key
from components.ingestion.rows import good_records
from components.shelf_change import users_of
from pipeline.reasons import strongest

_SAMPLED_USERS: Final = 200
LIST_LENGTH: Final = 10  # of new products, at most
_SHOWN_HISTORY: Final = 5
_EXPLAINED: Final = 3  # customers of a product
_REST: Final = "(what no word adds)"


class Reason(NamedTuple):
    """An item of the history as `NewProduct` names one, or a word, and its share of the score.

    Of what the history adds to it.
    """

    text: str
    share: float


class ReachedCustomer(NamedTuple):
    """A customer whose list holds the product; of the best ones it is said why."""

    user_id: str
    rank: int  # 1 is best, among new products
    score: float
    history: tuple[str, ...]  # titles of the latest different items, newest first
    items: tuple[Reason, ...] = ()  # of the history, the strongest first
    words: tuple[Reason, ...] = ()  # likewise, and at the end what no word adds


@dataclass(frozen=True)
class NewProduct:
    """A product without any interaction, and whom it reached, the best rank first.

    Where it has no title, its id stands for one. `sampled` customers were asked for.
    """

    item_id: str
    title: str
    price: float | None
    customers: tuple[ReachedCustomer, ...]
    sampled: int


class _Listed(NamedTuple):
    user_id: str
    rank: int
    score: float


def new_products_reached(
    served_model_dir: Path, data: DataFolder, options: DataOptions, count: int = 8
) -> list[NewProduct]:
    """Ask a model for lists of new products, and pick some of those that are in them.

    The first product picked is in the most lists; each next one is in the most lists that none
    before it is in, so that one bestseller's neighbours don't fill the report.

    Args:
        served_model_dir: the SavedModel, pushed or candidate.
        data: what the model was trained on; titles, prices and histories come from it.
        options: of its ingestion.
        count: products, at most.

    Returns:
        Fewer than `count` products where fewer are in a list, none where nothing is new.

    Raises:
        BadInput: the key for user ids is configured but not set.
    """
    model = tf.saved_model.load(str(served_model_dir))
    sample = _sample(served_model_dir)
    lists = _lists(model, sample)
    picked = _pick(lists, count)
    users = {listed.user_id for item in picked for listed in lists[item]}
    described = _described(data, options)
    histories = _histories(data, options, users, catalogue=described)

    def title(item: str) -> str:
        text, _ = described.get(item, ("", None))
        return text if text.strip() else item

    def reached(item: str) -> tuple[ReachedCustomer, ...]:
        best_first = sorted(lists[item], key=lambda entry: (entry.rank, -entry.score))
        customers = [
            ReachedCustomer(*listed, history=tuple(map(title, histories[listed.user_id])))
            for listed in best_first
        ]
        return (*_explained(model, item, customers[:_EXPLAINED], title), *customers[_EXPLAINED:])

    return [
        NewProduct(
            item_id=item,
            title=title(item),
            price=described[item][1] if item in described else None,
            customers=reached(item),
            sampled=len(sample),
        )
        for item in picked
    ]


def _explained(
    model: Any, item: str, customers: Sequence[ReachedCustomer], title: Callable[[str], str]
) -> list[ReachedCustomer]:
    """The customers with the reasons why the item is in their lists.

    A version of before Debut explained has none.
    """
    if "explain" not in model.signatures:
        return list(customers)
    rows = len(customers)
    answer = model.signatures["explain"](
        user_id=tf.constant([customer.user_id for customer in customers]),
        history=tf.zeros([rows, 0], tf.string),
        profile=tf.fill([rows], ""),
        item_id=tf.fill([rows], item),
    )
    found = {name: values.numpy() for name, values in answer.items()}
    total = found["score"] - found["base"] - found["evidence"]

    def reasons(texts: str, row: int) -> list[Reason]:
        scores = found[f"{texts.removesuffix('_item')}_score"][row]
        pairs = zip(found[texts][row], scores, strict=True)
        parts = [(text.decode(), float(score)) for text, score in pairs if text]
        return [Reason(*said) for said in strongest(parts, float(total[row]))]

    def words(row: int) -> tuple[Reason, ...]:
        said = reasons("word", row)
        rest = [Reason(_REST, float(found["rest"][row] / total[row]))] if said else []
        return (*said, *rest)

    return [
        customer._replace(
            items=tuple(
                reason._replace(text=title(reason.text)) for reason in reasons("history_item", row)
            ),
            words=words(row),
        )
        for row, customer in enumerate(customers)
    ]


def _sample(served_model_dir: Path) -> list[str]:
    """Some known users, by hash: the same in every run, and no order of the file shows through."""
    return nsmallest(
        _SAMPLED_USERS, users_of(served_model_dir),
        key=lambda user: (zlib.crc32(user.encode()), user),
    )  # fmt: skip


def _lists(model: Any, users: Sequence[str]) -> dict[str, list[_Listed]]:
    """By new product, the lists of the users that it is in."""
    found: dict[str, list[_Listed]] = defaultdict(list)
    if not users:
        return found
    answer = model.signatures["recommend"](
        user_id=tf.constant(users),
        history=tf.zeros([len(users), 0], tf.string),
        profile=tf.fill([len(users)], ""),
        k=tf.constant(LIST_LENGTH),
        new_only=tf.constant(True),
    )
    for user, items, scores in zip(
        users, answer["item_id"].numpy(), answer["score"].numpy(), strict=True
    ):
        for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1):
            if item:  # a list that is shorter than the batch's longest ends in ""
                found[item.decode()].append(_Listed(user, rank, float(score)))
    return found


def _pick(lists: Mapping[str, Collection[_Listed]], count: int) -> list[str]:
    users = {item: {listed.user_id for listed in lists[item]} for item in lists}
    picked: list[str] = []
    covered: set[str] = set()
    while len(picked) < min(count, len(users)):
        best = min(
            users.keys() - picked,
            key=lambda item: (-len(users[item] - covered), -len(users[item]), item),
        )
        picked.append(best)
        covered |= users[best]
    return picked


def _histories(
    data: DataFolder, options: DataOptions, users: Collection[str], *, catalogue: Collection[str]
) -> dict[str, list[str]]:
    """The latest different items of some users, newest first: those that ingestion takes in."""
    key = read_pseudonym_key(options)
    events: dict[str, list[tuple[int, str]]] = {user: [] for user in users}
    for file in data.files:
        if file.table == INTERACTIONS:
            for item, (user, timestamp, *_) in good_records(file, options, key):
                if user in events and item in catalogue:
                    events[user].append((timestamp, item))
    return {
        user: list(dict.fromkeys(item for _, item in sorted(bought, reverse=True)))[:_SHOWN_HISTORY]
        for user, bought in events.items()
    }


def _described(data: DataFolder, options: DataOptions) -> dict[str, tuple[str, float | None]]:
    """Title and price by item: of each file the first row counts, of those the newest span's."""
    described: dict[str, tuple[str, float | None]] = {}
    for file in data.files:
        if file.table == ITEMS:
            firsts: dict[str, tuple[str, float | None]] = {}
            for item, (title, *_, price, _) in good_records(file, options, None):
                firsts.setdefault(item, (title, price))
            described |= firsts
    return described
