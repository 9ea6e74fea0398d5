"""What training by logged propensities is worth, where what is rated was shown for its rating.

After Schnabel et al. 2016: nobody knows what real users would have said of what they were not
shown, so a shop is made up whose users have said it of everything. A policy shows them mostly what
they like; what is shown is rated, with the propensity in the log. The error is measured on pairs of
a user and an item that are drawn evenly.
"""

from __future__ import annotations

import csv
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import tf_keras

from benchmarks.transformed import transformed
from models import features
from models.arrays import Floats
from models.encoded import Encoded
from models.interactions import PAD, Interactions
from models.options import TrainerOptions
from models.preparation import Prepared, simulated_launches
from models.shop_data import ShopData
from models.training import Trainer
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import load_configuration
from pipeline.pipeline import training_options

_THINGS: Final = {
    "kitchen": ("cup", "bowl", "jug", "tray"), "garden": ("lantern", "pot", "bench", "feeder"),
    "office": ("clock", "lamp", "folder", "board"), "nursery": ("rabbit", "bear", "kite", "train"),
}  # fmt: skip
_QUALITIES: Final = ("broken", "plain", "striped", "glossy", "solid", "handmade")
_USERS: Final = 500
_ITEMS: Final = 400
_STEEPNESS: Final = 2.2  # how much likelier one star more is to be shown
_RAREST: Final = 0.02  # propensity of what has one star
_START: Final = 1_600_000_000
_PAIRS: Final = 8192
# The exponent, and whether training is told what was logged.
ROWS: Final = {
    "none": (0.0, False),
    "popularity, 0.5": (0.5, False),
    "popularity, 1": (1.0, False),
    "logged, 0.5": (0.5, True),
    "logged, 1": (1.0, True),
}


class Truth(NamedTuple):
    """What everybody would say of everything, and with what chance it was shown."""

    rating: npt.NDArray[np.int64]  # [U, I], 1 to 5
    propensity: Floats  # [U, I]


def write_exposed_shop(folder: Path, seed: int) -> Truth:
    """Write items, and of the ratings those that a policy has brought.

    Args:
        folder: is made; must not hold a shop yet.
        seed: of all draws.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    places = list(_THINGS)
    place = random.integers(len(places), size=_ITEMS)
    quality = random.integers(len(_QUALITIES), size=_ITEMS)
    taste = random.normal(size=(_USERS, len(places)))
    wanted = 2.6 + 0.9 * taste[:, place] + 0.4 * (quality - 2) + random.normal(
        scale=0.5, size=(_USERS, _ITEMS)
    )  # fmt: skip
    rating = np.clip(np.round(wanted), 1, 5).astype(np.int64)
    propensity = (_RAREST * _STEEPNESS ** (rating - 1)).astype(np.float32)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["item_id", "title", "category"])
        for item in range(_ITEMS):
            thing = random.choice(_THINGS[places[place[item]]])
            title = f"{_QUALITIES[quality[item]]} {thing} no. {random.integers(100)}"
            table.writerow([f"i{item}", title, places[place[item]]])
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["user_id", "item_id", "timestamp", "rating", "propensity"])
        for user, item in np.argwhere(random.random(rating.shape) < propensity):
            time = _START + random.integers(365 * 86_400)
            table.writerow(
                [f"u{user}", f"i{item}", time, rating[user, item], propensity[user, item]]
            )
    return Truth(rating, propensity)


def evenly_drawn(data: ShopData, truth: Truth, seed: int, history_length: int) -> Interactions:
    """Pairs that training has not seen, each of a user and a seen item as likely as any other.

    Args:
        data: the shop as it was ingested.
        truth: of that shop.
        seed: of the draw.
        history_length: latest items of the train split that a rating is predicted from.
    """
    random = np.random.default_rng(seed)
    train = data.splits[features.TRAIN]
    is_open = np.zeros((len(data.users), len(data.table)), np.bool_)
    is_open[:, np.unique(train.item)] = True
    is_open[train.user, train.item] = False
    pairs = np.argwhere(is_open)
    user, item = random.permutation(pairs)[:_PAIRS].T.astype(np.int32)
    history = np.full((len(data.users), history_length), PAD, np.int32)
    history_rating = np.zeros(history.shape, np.float32)
    for one in range(len(data.users)):
        rows = np.flatnonzero(train.user == one)
        rows = rows[np.argsort(train.timestamp[rows])][-history_length:]
        history[one, : len(rows)] = train.item[rows]
        history_rating[one, : len(rows)] = train.rating[rows]
    number = np.array([int(name[1:]) for name in data.users.ids])
    of_item = np.array([int(name[1:]) for name in data.table.ids])
    stars = truth.rating[number[user], of_item[item]]
    return Interactions(
        user=user, item=item, rating=((stars - 1) / 4).astype(np.float32),
        timestamp=np.zeros(len(user), np.int64), history=history[user],
        history_rating=history_rating[user], propensity=np.full(len(user), np.nan, np.float32),
        span=np.zeros(len(user), np.int32),
    )  # fmt: skip


@click.command()
@click.option("--seed", type=int, default=101, show_default=True, help="Of the shop.")
def propensities(seed: int) -> None:
    """Train with and without what was logged, on a made-up shop whose truth is known."""
    console = open_console()
    with tempfile.TemporaryDirectory() as scratch:
        truth = write_exposed_shop(Path(scratch) / "shop", seed)
        config = load_configuration(None, data=f"{scratch}/shop")
        options = training_options(config)
        arguments = transformed(config, Path(scratch) / "root")
        data = ShopData.read(arguments, options.history_length)
    prepared = Prepared.from_encoded(
        Encoded.frozen(data, options), data, *simulated_launches(data, options), options,
        lambda settings, recall: None,
    )  # fmt: skip
    even = evenly_drawn(data, truth, seed, options.history_length)
    table = new_table(
        "propensity, exponent", "MSE, pairs drawn evenly", "MSE, what was shown later"
    )
    for name, (exponent, is_told) in ROWS.items():
        errors = _errors(prepared, options, even, exponent=exponent, is_told=is_told)
        table.add_row(name, *(f"{error:.4f}" for error in errors))
    print_table(console, f"{len(even):,} pairs of {_USERS} users and {_ITEMS} items", table)


def _errors(
    prepared: Prepared, options: TrainerOptions, even: Interactions, *, exponent: float,
    is_told: bool,
) -> list[float]:  # fmt: skip
    """Squared errors after one training, of pairs drawn evenly and of the eval split."""
    tf_keras.utils.set_random_seed(options.training.seed)
    inputs = prepared.inputs
    if not is_told:
        nothing = np.full(len(inputs.interactions), np.nan, np.float32)
        inputs = replace(inputs, interactions=replace(inputs.interactions, propensity=nothing))
    training = options.training.model_copy(update={"propensity_exponent": exponent})
    trainer = Trainer(prepared.towers(options), inputs, training)
    trainer.run(prepared.folds, lambda step, values: None)
    return [trainer.squared_error(one)["squared_error"] for one in (even, inputs.later)]
