"""The joins of ingestion: by item, where validity and the new-item split are known; then by user.

The rows of one user are held in memory, the interactions of one item are not: a bestseller may have
more of them than fit. All order is made here by sorting, for a runner gives none.
"""

import gc
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from components.ingestion import examples, text
from components.ingestion.folder import INTERACTIONS, ITEMS, USERS, VARIANT_GROUPS, DataFile
from components.ingestion.histories import History, histories
from components.ingestion.options import DataOptions
from components.ingestion.read import FAULTS, TALLIES, Located
from components.ingestion.rows import DUPLICATE, UNKNOWN_ITEM
from components.ingestion.splits import Event, is_held_out, split_events
from components.ingestion.summary import (
    EMITTED,
    HELD_OUT_ITEMS,
    ITEMS_COUNT,
    NEW_PRODUCTS,
    REPLACED,
    SPLIT,
    USERS_COUNT,
    RatingScale,
)
from models.features import (
    EARLIER,
    ITEM_GROUPS,
    LATEST,
    NEW,
    NEW_ITEMS,
    SEEN,
    TRAIN,
    USER_GROUPS,
    group_of,
)

CATALOGUE: Final = "catalogue"
EVENTS: Final = "events"
RANGES: Final = "ranges"
_BATCH: Final = 1024  # interactions that are encoded together, and at least a user's

# Of an interaction on its way to its user: file index, timestamp, item id, rating, whether the item
# is held out, its interactions, propensity. The file tells it from a user's row, as in `Located`.
Posted = tuple[int, int, str, float, bool, int, float]
_Row = tuple[list[Any] | None, ...]  # in the order of examples.INTERACTION


class Chosen(NamedTuple):
    """Which of the rows that describe the same id counts."""

    row: Located
    replaced: list[Located]  # valid, but a later span has a newer one
    duplicates: list[Located]


def choose(rows: Iterable[Located]) -> Chosen:
    """Takes of each file the first row, of those the newest span's.

    Args:
      rows: at least one, of one table and one id.
    """
    firsts: dict[int, Located] = {}
    duplicates = []
    for row in sorted(rows):
        if firsts.setdefault(row[0], row) is not row:
            duplicates.append(row)
    *replaced, newest = firsts.values()
    return Chosen(newest, replaced, duplicates)


class _Join(beam.DoFn):
    """What both joins share: rows are set aside and accounted for."""

    def __init__(self, files: Sequence[DataFile], options: DataOptions, *, has_pseudonyms: bool):
        self._names = [file.name for file in files]
        self._tables = [file.table for file in files]
        self._names_users = [file.names_users for file in files]
        self._spans = [file.span for file in files]
        self._latest = max(file.span for file in files if file.table == INTERACTIONS)
        self._options = options
        self._has_pseudonyms = has_pseudonyms

    def setup(self) -> None:
        """Has Python pass over what a worker has loaded when it looks for garbage.

        Rows make a worker look often, and going through all objects of all libraries each time
        would take it half of its time.
        """
        gc.freeze()

    def _account(self, chosen: Chosen, *, column: str, key: str) -> Iterator[TaggedOutput]:
        yield self._tally(EMITTED, self._names[chosen.row[0]])
        for row in chosen.replaced:
            yield self._tally(REPLACED, self._names[row[0]])
        for row in chosen.duplicates:
            yield self._fault(row, DUPLICATE, column=column, value=key)

    def _fault(self, row: Located, reason: str, *, column: str, value: str) -> TaggedOutput:
        index, number, line, _ = row
        is_secret = self._has_pseudonyms and self._names_users[index]
        value = "" if is_secret else text.shown(value)
        return TaggedOutput(FAULTS, (index, number, line, reason, column, value))

    def _tally(self, *key: str, count: int = 1) -> TaggedOutput:
        return TaggedOutput(TALLIES, (key, (count, [])))


class JoinItem(_Join):
    """Joins interactions, catalogue and variant groups by item id.

    Outputs:
      CATALOGUE: a list of one serialized `tf.Example`.
      EVENTS: (user id, Posted), the rating still on the scale of the data.
      RANGES: (lowest, highest) rating of the item's interactions.
      FAULTS, TALLIES: as `ReadRows`.
    """

    def process(self, element: tuple[str, Iterable[Located]]) -> Iterator[Any]:
        """Joins the rows of one item. They are gone through twice, and never held together."""
        item, rows = element
        describing: dict[str, list[Located]] = {ITEMS: [], VARIANT_GROUPS: []}
        counts: Counter[int] = Counter()
        low, high = math.inf, -math.inf
        for row in rows:
            if self._tables[row[0]] != INTERACTIONS:
                describing[self._tables[row[0]]].append(row)
                continue
            counts[row[0]] += 1
            _, _, rating, _ = row[3]
            low, high = min(low, rating), max(high, rating)

        if not describing[ITEMS]:
            for row in rows:
                yield self._fault(row, UNKNOWN_ITEM, column="item_id", value=item)
            return
        chosen = {table: choose(found) for table, found in describing.items() if found}
        for choice in chosen.values():
            yield from self._account(choice, column="item_id", key=item)

        total = sum(counts.values())
        yield _catalogue_example(item, chosen[ITEMS].row[3], interactions=total)
        yield self._tally(ITEMS_COUNT)
        if not total:
            yield self._tally(NEW_PRODUCTS)
            return
        yield TaggedOutput(RANGES, (low, high))
        group = chosen[VARIANT_GROUPS].row[3][0] if VARIANT_GROUPS in chosen else None
        held_out = is_held_out(self._options, item, group)
        if held_out:
            yield self._tally(HELD_OUT_ITEMS)
        for index, _, _, values in rows:
            if self._tables[index] == INTERACTIONS:
                user, timestamp, rating, propensity = values
                posted = (index, timestamp, item, rating, held_out, total, propensity)
                yield TaggedOutput(EVENTS, (user, posted))


class JoinUser(_Join):
    """Joins a user's events and profile, splits the events and gives each its history.

    Outputs:
      TRAIN, EVAL, NEW_ITEMS: a list of serialized `tf.Example`, interactions of several users: to
        encode those of one user at a time takes twice as long, and most users have few.
      FAULTS, TALLIES: as `ReadRows`.
    """

    def process(self, element: tuple[str, Iterable[Any]], scale: RatingScale) -> Iterator[Any]:
        """Joins the rows of one user, each a Posted or a Located."""
        user, rows = element
        profile = ""
        profiles, events = [], []
        for row in rows:
            if self._tables[row[0]] == USERS:
                profiles.append(row)
                continue
            index, timestamp, item, rating, held_out, demand, propensity = row
            rating = scale.apply(rating)
            events.append(Event(timestamp, item, rating, held_out, index, demand, propensity))
        if profiles:
            chosen = choose(profiles)
            yield from self._account(chosen, column="user_id", key=user)
            (profile,) = chosen.row[3]
        events.sort()
        if not events:
            return
        yield self._tally(USERS_COUNT)
        splits = split_events(self._options, user, events)
        earlier = histories(events, self._options.history_length)
        for event, split, history in zip(events, splits, earlier, strict=True):
            self._rows.setdefault(split, []).append(self._row(user, profile, event, split, history))
        for split, rows in self._rows.items():
            if len(rows) >= _BATCH:
                yield from self._encoded(split)
        for index, count in Counter(event.file for event in events).items():
            yield self._tally(EMITTED, self._names[index], count=count)

    def start_bundle(self) -> None:
        """Begins with no rows."""
        self._rows: dict[str, list[_Row]] = {}

    def finish_bundle(self) -> Iterator[Any]:
        """Encodes what is left."""
        for split in self._rows:
            for output in self._encoded(split):
                if isinstance(output, TaggedOutput):
                    yield TaggedOutput(output.tag, GlobalWindows.windowed_value(output.value))
                else:
                    yield GlobalWindows.windowed_value(output)

    def _row(self, user: str, profile: str, event: Event, split: str, history: History) -> _Row:
        return (
            [user],
            [event.item],
            [event.rating],
            [event.timestamp],
            [item for item, _ in history],
            [rating for _, rating in history],
            [profile],
            [NEW if split == NEW_ITEMS else SEEN],
            [event.propensity] if event.propensity else None,
            [self._spans[event.file]],
            [self._age(event)],
            [group_of(len(history), USER_GROUPS)],
            [group_of(event.demand, ITEM_GROUPS)],
        )

    def _encoded(self, split: str) -> Iterator[Any]:
        """Empties the rows of a split."""
        rows, self._rows[split] = self._rows[split], []
        if not rows:
            return
        batch = examples.encode(examples.INTERACTION, list(zip(*rows, strict=True)))
        yield batch if split == TRAIN else TaggedOutput(split, batch)
        yield self._tally(SPLIT, split, count=len(batch))

    def _age(self, event: Event) -> bytes:
        """A newer span without interactions makes none of them older."""
        return LATEST if self._spans[event.file] == self._latest else EARLIER


def _catalogue_example(item: str, values: tuple[Any, ...], *, interactions: int) -> list[bytes]:
    *texts, price, available = values
    columns = [[[value]] for value in (item, *texts)]
    prices = [None if price is None else [price]]
    numbers = [[[int(value)]] for value in (available is not False, interactions)]
    return examples.encode(examples.CATALOGUE, [*columns, prices, *numbers])
