"""Exploration on a replay of held-out purchases: what new items and all items earn.

The first half of a shop's time trains a model, without the interactions of items that are drawn to
play new ones. The second half is replayed: whoever bought something then is shown a list first, and
what is in it of the customer's later purchases counts as bought. A policy learns from that alone,
by the code of `debut explore`, gate included; its lists, never the purchases, decide what it sees.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from benchmarks.cold_split import draw_new_items, write_events
from benchmarks.transformed import transformed
from components.exploration.judging import judge
from components.exploration.lists import SeenList
from components.exploration.observing import Observed, observe
from components.exploration.update import columns_of, state_of
from components.ingestion.folder import INTERACTIONS
from models.errors import BadInput, Refused
from models.exploration.exploration import Exploration, no_exploration
from models.options import OPTIONS, ExploreOptions
from models.shelf.intake import assign
from models.trainer import run_fn
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.config import load_configuration
from pipeline.layout import SAMPLE
from pipeline.pipeline import training_options
from serving.feedback.events import Shown

GREEDY: Final = "greedy"
POLICIES: Final[dict[str, dict[str, object]]] = {
    GREEDY: {"policy": "none"},
    "learning only": {"policy": "thompson", "share": 0.0},
    "LinUCB": {"policy": "linucb"},
    "Thompson": {"policy": "thompson"},
}
_USERS_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Visit:
    """A customer who will buy something.

    Attributes:
        user: the customer.
        bought: items that the customer bought then.
    """

    user: str
    bought: tuple[str, ...]


@dataclass(frozen=True)
class Replay:
    """What happened after the training.

    Attributes:
        visits: in order of time.
        history: what each user had bought before, oldest first.
    """

    visits: list[Visit]
    history: dict[str, list[str]]


class Earned(NamedTuple):
    """What a policy came to.

    Attributes:
        new: purchases of new items out of the lists.
        all: purchases of any items.
        places: with new items.
        explored: places that chance filled.
        refused: updates that the gate refused.
    """

    new: int
    all: int
    places: int
    explored: int
    refused: int


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks bandit
  python -m benchmarks bandit --seed 11 --set explore.share=0.2""",
)
@click.option("--data", type=PATH, default=SAMPLE, help="A data folder  [default: the sample]")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the new products' draw.")
@click.option("--places", type=int, default=10, show_default=True, help="Of a list.")
@click.option("--rounds", type=int, default=26, show_default=True, help="Updates of the state.")
@click.option("--keep", type=PATH, help="Keep the data and the model here, or take them from it.")
@click.option("--set", "settings", multiple=True, help="An option of training or `explore`.")
def bandit(
    data: Path, seed: int, places: int, rounds: int, keep: Path | None, settings: tuple[str, ...]
) -> None:
    """Compare exploring policies with the greedy one on purchases that nobody has learned from."""
    console = open_console()
    options = load_configuration(None, settings).explore
    with tempfile.TemporaryDirectory() as scratch:
        work = keep or Path(scratch)
        replay = cut(data, work / "train", seed=seed)
        version = work / "model"
        if not version.exists():
            train(work / "train", version, settings)
        model = tf.saved_model.load(str(version))
    earned = {}
    for name, changed in POLICIES.items():
        with console.status(f"{len(replay.visits):,} visits, {name}"):
            earned[name] = simulate(
                model, replay, options.model_copy(update=changed), places=places, rounds=rounds
            )
    table = new_table("policy", "new items", "× greedy", "all items", "× greedy", "new places",
                      "explored", "refused")  # fmt: skip
    greedy = earned[GREEDY]
    for name, one in earned.items():
        table.add_row(
            name, f"{one.new:,}", f"{one.new / greedy.new:.3f}", f"{one.all:,}",
            f"{one.all / greedy.all:.3f}", f"{one.places:,}", f"{one.explored:,}",
            f"{one.refused} of {rounds}",
        )  # fmt: skip
    print_table(
        console,
        f"Purchases out of {len(replay.visits):,} lists of {places}, {options.share:.0%} explored",
        table,
    )


def cut(data: Path, train: Path, *, seed: int) -> Replay:
    """Write a data folder of the first half of the time, and return the second.

    Args:
        data: a data folder without spans.
        train: the folder, written where it is missing.
        seed: of the draw of the new items.

    Raises:
        BadInput: the folder can't be read, comes in spans, or all lies at one moment.
    """
    shop = draw_new_items(data, seed=seed)
    middle = float(np.median([event.timestamp for event in shop.left]))
    known = sorted((e for e in shop.left if e.timestamp < middle), key=lambda e: e.timestamp)
    later = sorted((e for e in shop.events if e.timestamp >= middle), key=lambda e: e.timestamp)
    if not known:
        raise BadInput(f"All interactions of {data} lie at one moment. Give data with a time.")
    if not train.exists():
        train.mkdir(parents=True)
        for table, file in shop.files.items():
            if table != INTERACTIONS:
                shutil.copy(file.path, train)
        write_events(train / "interactions.csv", known)
    history: dict[str, list[str]] = {}
    for event in known:
        history.setdefault(event.user, []).append(event.item)
    baskets: dict[tuple[int, str], list[str]] = {}
    for event in later:
        baskets.setdefault((event.timestamp, event.user), []).append(event.item)
    return Replay([Visit(user, tuple(bought)) for (_, user), bought in baskets.items()], history)


def train(data: Path, version: Path, settings: Sequence[str]) -> None:
    """Train on a data folder as a run does, without gates."""
    training = [setting for setting in settings if not setting.startswith("explore.")]
    config = load_configuration(None, training, data=data)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = transformed(config, Path(scratch) / "root")
        given = {OPTIONS: training_options(config).model_dump(mode="json")}
        run_fn(
            FnArgs(
                transform_graph_path=arguments.transform_graph_path,
                serving_model_dir=str(Path(scratch) / "model"),
                model_run_dir=str(Path(scratch) / "run"),
                base_model=None,
                custom_config=arguments.custom_config | given,
            )
        )
        shutil.copytree(Path(scratch) / "model", version)


def simulate(
    model: Any, replay: Replay, options: ExploreOptions, *, places: int, rounds: int
) -> Earned:
    """Replay the visits under one policy.

    Args:
        model: a loaded SavedModel.
        replay: what happens.
        options: of the policy.
        places: of a list.
        rounds: in which the visits come; each ends with an update.
    """
    world, policy = _World(replay), _Policy(model, options)
    new = all_ = shown = explored = 0
    for part in np.array_split(np.arange(len(replay.visits)), rounds):
        seen = []
        for numbers in _batches(replay.visits, part):
            for number, items in zip(numbers, policy.lists(world, numbers, places), strict=True):
                rewarded = world.bought_of(number, items)
                seen.append(
                    SeenList(str(number), replay.visits[number].user, world.asked(number),
                             tuple(items), rewarded)
                )  # fmt: skip
                new += len(policy.new & rewarded)
                all_ += len(rewarded)
                shown += sum(one.item in policy.new for one in items)
                explored += sum(one.propensity < 1 for one in items)
                world.end(number, rewarded)
        policy.learn(seen)
    return Earned(new, all_, shown, explored, policy.refused)


class _World:
    """What the customers have bought so far, out of lists or by themselves, and will yet buy."""

    def __init__(self, replay: Replay) -> None:
        self._visits = replay.visits
        self._history = {user: list(items) for user, items in replay.history.items()}
        self._wanted: dict[str, set[str]] = {}
        self._asked: dict[int, tuple[str, ...]] = {}
        for visit in replay.visits:
            self._wanted.setdefault(visit.user, set()).update(visit.bought)

    def asked(self, number: int) -> tuple[str, ...]:
        """The customer's history at a visit."""
        user = self._visits[number].user
        return self._asked.setdefault(number, tuple(self._history.get(user, ())))

    def bought_of(self, number: int, items: Sequence[Shown]) -> frozenset[str]:
        """Which of them the customer buys then or would have bought later."""
        wanted = self._wanted[self._visits[number].user]
        return frozenset(one.item for one in items if one.item in wanted)

    def end(self, number: int, rewarded: frozenset[str]) -> None:
        """What was bought is not wanted any more."""
        visit = self._visits[number]
        self.asked(number)
        wanted, history = self._wanted[visit.user], self._history.setdefault(visit.user, [])
        for item in (*sorted(rewarded), *visit.bought):
            if item in wanted:
                wanted.remove(item)
                history.append(item)


class _Policy:
    """A served model that explores, and learns in rounds."""

    def __init__(self, model: Any, options: ExploreOptions) -> None:
        self._model, self._options = model, options
        self._embedding = model._shelf.embedding.numpy()
        self._rows = np.flatnonzero(model._shelf.is_new.numpy())
        ids = model._shelf.item_id.numpy()
        self._new = [ids[row].decode() for row in self._rows]
        self.new = frozenset(self._new)
        self._state = no_exploration()
        self._known: Observed | None = None
        self._lists = 0
        self.refused = 0
        self.learn([])

    def lists(self, world: _World, numbers: Sequence[int], places: int) -> Iterator[list[Shown]]:
        """What is shown at visits of different customers."""
        histories = [world.asked(number) for number in numbers]
        width = max(map(len, histories))
        padded = [[*history, *[""] * (width - len(history))] for history in histories]
        answer = self._model.signatures["recommend"](
            user_id=tf.constant([world._visits[number].user for number in numbers]),
            history=tf.constant(padded, tf.string, [len(numbers), width]),
            profile=tf.fill([len(numbers)], ""), k=tf.constant(places), new_only=tf.constant(False),
        )  # fmt: skip
        for items, chances in zip(
            answer["item_id"].numpy(), answer["propensity"].numpy().tolist(), strict=True
        ):
            yield [
                Shown(item=item.decode(), propensity=chance)
                for item, chance in zip(items, chances, strict=True)
                if item
            ]

    def learn(self, seen: Sequence[SeenList]) -> None:
        """Update the state as `debut explore` does, unless the gate refuses.

        Only the new lists are asked for: what a user was promised by then does not change.
        """
        assign(self._model, columns_of(no_exploration()))
        if self._options.policy != "none":
            observed = observe(self._model, seen, self._new)
            self._known = observed if self._known is None else _joined(self._known, observed)
            self._lists += len(seen)
            try:
                self._state = self._learned(self._known)
            except Refused:
                self.refused += 1
        assign(self._model, columns_of(self._state))

    def _learned(self, observed: Observed) -> Exploration:
        impressions = observed.impressions.astype(np.int32)
        judgement = judge(
            self._embedding[self._rows], observed, self._options, impressions=impressions
        )
        if judgement is not None:
            judgement.check(self._options.tolerance)
        return state_of(
            self._embedding, self._rows, observed, self._options,
            impressions=impressions, salt=str(self._lists),
        )  # fmt: skip


def _joined(first: Observed, second: Observed) -> Observed:
    shift = len(first.is_judge)
    second = second._replace(of=second.of + shift, judge=second.judge + shift)

    def both(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([one, other])

    feedback = type(first.feedback)(*map(both, first.feedback, second.feedback))
    return Observed(feedback, *map(both, first[1:], second[1:]))


def _batches(visits: Sequence[Visit], numbers: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive visits of different customers, in their order."""
    batch: list[int] = []
    for number in numbers:
        users = {visits[one].user for one in batch}
        if batch and (len(batch) == _USERS_AT_ONCE or visits[number].user in users):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
