"""How many of an audience buy: by the sample's new products, whose hidden purchases are known.

Each product is asked about as it stands on the shelf, and by its title alone. Beside that stand the
same users in the order of two parts of the score, neither of which makes an audience by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers ops of the graph)

from benchmarks.root_option import root_option
from models import features
from models.arrays import Floats
from models.errors import BadInput
from models.options import SMALL
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.demo import Sample, read_sample
from pipeline.layout import serving_folder
from pipeline.newest import newest_version

_CHOSEN: Final = 20
_TOGETHER: Final = 16
BY_ITEM: Final = "of the product"
BY_TITLE: Final = "of its title"
BY_SCORE: Final = "by the score alone"
BY_HABIT: Final = "by the number of items alone"


class Ranked(NamedTuple):
    """All users for one product, best first.

    Attributes:
        users: ids [U].
        score: float32 [U].
    """

    users: list[str]
    score: Floats


@click.command(
    epilog="""\b
Example:
  python -m benchmarks audience --root runs""",
)
@root_option
def audience(root: Path) -> None:
    """Count the buyers in audiences of the sample's new products, by its answer key."""
    console = open_console()
    model = tf.saved_model.load(str(newest_version(serving_folder(root))))
    sample = read_sample()
    buyers = _buyers_of_new(model, sample)
    habits = _habits(model)
    found: dict[str, list[float]] = {}
    with console.status(f"Asking about {len(buyers):,} products"):
        for (item, of_item), (_, of_title) in zip(
            _asked(model, list(buyers)),
            _asked(model, list(buyers), titles=sample.titles),
            strict=True,
        ):
            for name, users in orders(of_item, of_title, habits).items():
                bought = [user in buyers[item] for user in users[:_CHOSEN]]
                found.setdefault(name, []).append(float(np.mean(bought)))
    table = new_table(f"{_CHOSEN} users", "buyers among them", numbers_from=1)
    for name, shares in found.items():
        table.add_row(name, f"{np.mean(shares):.1%}")
    print_table(console, f"Audiences of {len(buyers):,} new products", table)


def orders(item: Ranked, title: Ranked, habits: Mapping[str, int]) -> dict[str, list[str]]:
    """Users for one product in several orders, best first.

    Args:
        item: by the audience of the product.
        title: by that of its title.
        habits: how many items a user has bought.
    """
    demand = np.array([habits[user] for user in item.users])
    return {
        BY_ITEM: item.users,
        BY_TITLE: title.users,
        BY_SCORE: _sorted(item.users, item.score - np.log1p(demand)),
        BY_HABIT: _sorted(item.users, demand),
    }


def _sorted(users: list[str], worth: Any) -> list[str]:
    return [users[place] for place in np.argsort(-worth, kind="stable")]


def _buyers_of_new(model: Any, sample: Sample) -> dict[str, Set[str]]:
    """New products of the model to the customers who bought them, where there are any."""
    shelf = model._shelf
    new = {item.decode() for item in shelf.item_id.numpy()[shelf.is_new.numpy()]}
    buyers: dict[str, set[str]] = {}
    for user, items in sample.hidden.items():
        for item in items & new:
            buyers.setdefault(item, set()).add(user)
    if not buyers or not new <= sample.titles.keys() or len(shelf.user_id.numpy()) > SMALL:
        raise BadInput(
            "The pushed model knows another shop than the sample, whose hidden purchases are what "
            "is counted. Give --root the folder of a run on the sample."
        )
    return dict(sorted(buyers.items()))


def _habits(model: Any) -> dict[str, int]:
    shelf = model._shelf
    counts = np.diff(shelf.user_offset.numpy())
    ids = shelf.user_id.numpy()
    return {user.decode(): int(count) for user, count in zip(ids, counts, strict=True)}


def _asked(
    model: Any, items: list[str], *, titles: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Ranked]]:
    """Each product with its audience of all users; of its title, where titles are given."""
    users = int(tf.size(model._shelf.user_id))
    for start in range(0, len(items), _TOGETHER):
        some = items[start : start + _TOGETHER]
        blank = tf.fill([len(some)], "")
        texts = dict.fromkeys(features.ITEM_TEXT, blank)
        if titles is None:
            given = {"item_id": tf.constant(some)}
        else:
            given = {"item_id": blank, features.TITLE: tf.constant([titles[i] for i in some])}
        answer = model.signatures["audience"](
            **(texts | given), price=tf.fill([len(some)], float("nan")), k=tf.constant(users)
        )
        for item, ids, score in zip(some, answer["user_id"], answer["score"], strict=True):
            yield item, Ranked([user.decode() for user in ids.numpy()], score.numpy())
