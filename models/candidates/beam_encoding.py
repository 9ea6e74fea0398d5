"""Encodes many items by a Beam pipeline.

The workers read the same folder, each a part of the items, and leave what they made there: nothing
but numbers of parts goes through Beam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import apache_beam as beam
import numpy as np
import scipy.sparse as sp
from apache_beam.options.pipeline_options import PipelineOptions

from models.candidates.encoding import Coder, Encoded

_PART: Final = 1 << 16


def encode_by_beam(
    coder: Coder, lent: sp.csr_matrix, *, scratch: Path, beam_args: Sequence[str]
) -> Encoded:
    """What the coder makes of many items.

    Args:
        coder: encodes.
        lent: float32 [N, A].
        scratch: an empty folder that every worker can read and write.
        beam_args: of the pipeline.
    """
    given = {"weight": lent.data, "anchor": lent.indices, "begin": lent.indptr}
    given |= coder._asdict()
    for name, array in given.items():
        np.save(scratch / f"{name}.npy", array)
    starts = list(range(0, lent.shape[0], _PART))
    with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
        _ = (
            pipeline
            | beam.Create(starts)
            | beam.Reshuffle()
            | beam.ParDo(_Encode(str(scratch)))
        )  # fmt: skip
    parts = [(np.load(_code(scratch, at)), np.load(_of(scratch, at))) for at in starts]
    code, of = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Encoded(code, of)


class _Encode(beam.DoFn):
    """Encodes the items from a start on, as many as are a part."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch

    def process(self, element: int) -> Iterator[int]:
        """Leaves two files; yields how many items are in them."""
        folder = Path(self._scratch)
        begin = np.load(folder / "begin.npy", mmap_mode="r")[element : element + _PART + 1]
        within = slice(int(begin[0]), int(begin[-1]))
        weight, anchor = (
            np.load(folder / f"{name}.npy", mmap_mode="r")[within] for name in ("weight", "anchor")
        )
        coder = Coder(*(np.load(folder / f"{name}.npy") for name in Coder._fields))
        lent = sp.csr_matrix(
            (weight, anchor, begin - begin[0]), shape=(len(begin) - 1, len(coder.item_factor))
        )
        encoded = coder(lent)
        np.save(_code(folder, element), encoded.code)
        np.save(_of(folder, element), encoded.of)
        yield len(encoded.of)


def _code(folder: Path, start: int) -> Path:
    return folder / f"code-{start}.npy"


def _of(folder: Path, start: int) -> Path:
    return folder / f"of-{start}.npy"
