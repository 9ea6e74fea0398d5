"""Finds the heads of many items by a Beam pipeline.

The workers read the same folder, each a part of the items, and leave what they found there: nothing
but numbers of parts goes through Beam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.options.pipeline_options import PipelineOptions

from models.candidates.heads import Heads, heads_of
from models.inheritance.anchors import Inheritance

_PART: Final = 1 << 16


def heads_by_beam(
    inheritance: Inheritance,
    rows: npt.NDArray[np.int64],
    *,
    scratch: Path,
    beam_args: Sequence[str],
) -> Heads:
    """`heads_of` items of a catalogue.

    Args:
        inheritance: what is served of it.
        rows: int64 [N].
        scratch: an empty folder that every worker can read and write.
        beam_args: of the pipeline.
    """
    np.save(scratch / "list.npy", inheritance.source[rows])
    np.save(scratch / "demand.npy", inheritance.demand[rows])
    np.save(scratch / "anchor.npy", inheritance.anchor_index)
    np.save(scratch / "weight.npy", inheritance.anchor_weight)
    starts = list(range(0, len(rows), _PART))
    with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
        _ = (
            pipeline
            | beam.Create(starts)
            | beam.Reshuffle()
            | beam.ParDo(_Find(str(scratch)))
        )  # fmt: skip
    parts = [np.load(_part(scratch, start)) for start in starts]
    return Heads(*(np.concatenate([part[name] for part in parts]) for name in Heads._fields))


class _Find(beam.DoFn):
    """Finds the heads of the items from a start on, as many as are a part."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch

    def process(self, element: int) -> Iterator[int]:
        """Leaves a file; yields how many items are in it."""
        folder = Path(self._scratch)
        lists, demand, anchor, weight = (
            np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("list", "demand", "anchor", "weight")
        )
        part = lists[element : element + _PART]
        found = heads_of(
            anchor[part], weight[part].astype(np.float32), demand[element : element + _PART]
        )
        np.savez(_part(folder, element), **found._asdict())
        yield len(part)


def _part(folder: Path, start: int) -> Path:
    return folder / f"part-{start}.npz"
