"""The Beam pipeline of ingestion: read, join by item, join by user; rows set aside are gathered."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from components.ingestion.folder import USERS, DataFolder
from components.ingestion.join import CATALOGUE, EVENTS, RANGES, JoinItem, JoinUser
from components.ingestion.options import DataOptions
from components.ingestion.read import (
    BY_ITEM,
    BY_USER,
    FAULTS,
    TALLIES,
    Fault,
    ReadRows,
    places,
)
from components.ingestion.set_aside import SetAside
from components.ingestion.summary import (
    FIRST_ROWS,
    QUARANTINED,
    RatingScale,
    Tally,
    scale_line,
    tally_line,
)
from models.features import EVAL, NEW_ITEMS, TRAIN

QUARANTINE: Final = "quarantine"
COUNTS: Final = "counts"

# Named types choose compact coders; without them each element would be pickled.
_KEYED: Final = tuple[str, Any]
_BATCH: Final = list[bytes]
_RANGE: Final = tuple[float, float]


class Ingest(beam.PTransform):
    """Turns a data folder into catalogue, interactions by split, and quarantine.

    Expands a pipeline to a dict of PCollections:
      CATALOGUE, TRAIN, EVAL, NEW_ITEMS: lists of serialized `tf.Example`.
      QUARANTINE: a line of JSON for each row set aside.
      COUNTS: lines for `summary.read_counts`.
    """

    def __init__(self, folder: DataFolder, options: DataOptions, pseudonym_key: bytes | None):
        super().__init__()
        self._files = folder.files
        self._options = options
        # The workers of a cluster don't have the environment variable, so the key goes with the
        # graph; it is in no execution property and no artifact.
        self._pseudonym_key = pseudonym_key

    def expand(self, pipeline: beam.Pipeline) -> Any:  # Beam warns of a dict here, yet takes one
        """Builds the graph."""
        files, options = self._files, self._options
        has_pseudonyms = self._pseudonym_key is not None
        read = (
            pipeline
            | "Files" >> beam.Create(places(files))
            | "ReadRows"
            >> _par_do(
                ReadRows(files, options, self._pseudonym_key),
                outputs={BY_ITEM: _KEYED, BY_USER: _KEYED},
            )
        )
        by_item = (
            read[BY_ITEM]
            | "GroupByItem" >> beam.GroupByKey()
            | "JoinItem"
            >> _par_do(
                JoinItem(files, options, has_pseudonyms=has_pseudonyms),
                outputs={CATALOGUE: _BATCH, EVENTS: _KEYED, RANGES: _RANGE},
            )
        )
        scale = (
            by_item[RANGES]
            | "RatingRange" >> beam.CombineGlobally(_widest)
            | "RatingScale" >> beam.Map(_scale, low=options.rating_min, high=options.rating_max)
        )
        # A flatten takes all interactions through the runner once more.
        has_users = any(file.table == USERS for file in files)
        of_users = (
            (by_item[EVENTS], read[BY_USER]) | "OfUsers" >> beam.Flatten()
            if has_users
            else by_item[EVENTS]
        )
        by_user = (
            of_users
            | "GroupByUser" >> beam.GroupByKey()
            | "JoinUser"
            >> _par_do(
                JoinUser(files, options, has_pseudonyms=has_pseudonyms),
                AsSingleton(scale),
                outputs={TRAIN: _BATCH, EVAL: _BATCH, NEW_ITEMS: _BATCH},
            )
        )
        steps = (read, by_item, by_user)
        names = [file.name for file in files]
        faults = [step[FAULTS] for step in steps] | "Faults" >> beam.Flatten()
        return {
            CATALOGUE: by_item[CATALOGUE],
            **{split: by_user[split] for split in (TRAIN, EVAL, NEW_ITEMS)},
            QUARANTINE: faults | "FaultLine" >> beam.Map(_fault_line, names).with_output_types(str),
            COUNTS: _count_lines([step[TALLIES] for step in steps], faults, scale, names),
        }


def _count_lines(tallies: list[Any], faults: Any, scale: Any, names: Sequence[str]) -> Any:
    """Adds up what the steps told of their rows, and tells the scale: a PCollection of lines."""
    of_faults = faults | "TallyFaults" >> beam.Map(_fault_tally, names).with_output_types(Tally)
    counts = (
        [*tallies, of_faults]
        | "Tallies" >> beam.Flatten()
        | "SumTallies" >> beam.CombinePerKey(_sum)
        | "TallyLine" >> beam.Map(tally_line).with_output_types(str)
    )
    scale_lines = scale | "ScaleLine" >> beam.Map(scale_line).with_output_types(str)
    return (counts, scale_lines) | "Counts" >> beam.Flatten()


def _par_do(fn: beam.DoFn, *side_inputs: Any, outputs: dict[str, Any]) -> beam.PTransform:
    """A ParDo with typed outputs, the first of them untagged, and those that every step has."""
    (main, main_type), *others = outputs.items()
    tags = {**dict(others), FAULTS: Fault, TALLIES: Tally}
    return (
        beam.ParDo(fn, *side_inputs)
        .with_output_types(main_type, **tags)
        .with_outputs(*tags, main=main)
    )


def _widest(ranges: Iterable[tuple[float, float]]) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for lower, higher in ranges:
        low, high = min(low, lower), max(high, higher)
    return low, high


def _scale(found: tuple[float, float], low: float | None, high: float | None) -> RatingScale:
    lowest, highest = found
    if lowest >= highest:  # no interaction at all, or all ratings alike
        alike = lowest if lowest == highest else 1.0
        return RatingScale(alike, alike, is_implicit=True)
    return RatingScale(
        lowest if low is None else low, highest if high is None else high, is_implicit=False
    )


def _sum(values: Iterable[tuple[int, list[int]]]) -> tuple[int, list[int]]:
    total, rows = 0, []
    for count, first_rows in values:
        total += count
        rows += first_rows
    return total, sorted(rows)[:FIRST_ROWS]


def _fault_tally(fault: Fault, names: Sequence[str]) -> Tally:
    index, number, _, reason, column, _ = fault
    return (QUARANTINED, names[index], reason, column), (1, [number])


def _fault_line(fault: Fault, names: Sequence[str]) -> str:
    index, number, line, reason, column, value = fault
    return SetAside(names[index], number, line or None, reason, column, value).to_json()
