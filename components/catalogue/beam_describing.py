"""Describes many products by a Beam pipeline, whose workers load the served model."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops
from apache_beam.options.pipeline_options import PipelineOptions

from components.accounting import check_rows
from components.beam_workers import prepare_workers
from components.whole_folders import written_beside
from models.products import Described, Product, describe
from models.shelf.sparse_arrays import of_arrays, to_arrays

_BATCH: Final = 512

_Batch = tuple[list[int], list[tuple[Any, ...]]]


def describe_by_beam(
    version: Path, products: Sequence[Product], beam_args: Sequence[str], *, place: Path
) -> Described:
    """What the served model says of products, in their order.

    Args:
        version: folder of the model, which every worker must be able to read.
        products: at least one.
        beam_args: of the pipeline.
        place: folder that every worker can write to.
    """
    prepare_workers(beam_args)
    with written_beside(place) as scratch:
        scratch.mkdir()
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            _ = (
                pipeline
                | beam.Create(list(_batches(products)))
                | beam.Reshuffle()
                | beam.ParDo(_Describe(str(version)))
                | beam.io.WriteToTFRecord(f"{scratch}/described")
            )
        files = sorted(map(str, scratch.iterdir()))
        records = tf.data.TFRecordDataset(files).as_numpy_iterator()
        rows, parts = zip(*map(_read, records), strict=True)
    row = np.concatenate(rows)
    # A batch that came twice instead of another one would not change their number.
    for found in (len(row), len(np.unique(row))):
        check_rows("Describing", "products", expected=len(products), found=found)
    return Described.joined(parts).rows(np.argsort(row))


class _Describe(beam.DoFn):
    """Describes batches of products; the model is loaded once by each worker."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._model: Any = None

    def setup(self) -> None:
        """Loads the model."""
        self._model = tf.saved_model.load(self._version)

    def process(self, element: _Batch) -> Iterator[bytes]:
        """Yields one record."""
        rows, products = element
        described = describe(self._model, [Product(*values) for values in products])
        yield _written(np.array(rows, np.int64), described)


def _batches(products: Sequence[Product]) -> Iterator[_Batch]:
    # Plain tuples, because Beam pickles named ones.
    for start in range(0, len(products), _BATCH):
        part = products[start : start + _BATCH]
        yield list(range(start, start + len(part))), [tuple(product) for product in part]


def _written(rows: npt.NDArray[np.int64], described: Described) -> bytes:
    columns = described._asdict()
    terms = to_arrays("terms", columns.pop("terms"))
    file = io.BytesIO()
    np.savez(file, rows=rows, **terms, **columns)
    return file.getvalue()


def _read(record: bytes) -> tuple[npt.NDArray[np.int64], Described]:
    with np.load(io.BytesIO(record)) as columns:
        own = {name: columns[name] for name in Described._fields if name != "terms"}
        return columns["rows"], Described(terms=of_arrays("terms", columns), **own)
