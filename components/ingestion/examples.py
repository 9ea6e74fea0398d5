"""Serializes catalogue and interactions as `tf.Example`, a batch at a time, in C++.

The rows of a batch are given by column, as lists. A missing value is None.
"""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

from models import features

_BYTES: Final = pa.list_(pa.binary())
_FLOAT: Final = pa.list_(pa.float32())
_INT: Final = pa.list_(pa.int64())

CATALOGUE: Final = pa.schema(
    {
        features.ITEM_ID: _BYTES,
        features.TITLE: _BYTES,
        features.CATEGORY: _BYTES,
        features.BRAND: _BYTES,
        features.DESCRIPTION: _BYTES,
        features.PRICE: _FLOAT,
        features.AVAILABLE: _INT,
        features.INTERACTIONS: _INT,
    }
)
INTERACTION: Final = pa.schema(
    {
        features.USER_ID: _BYTES,
        features.ITEM_ID: _BYTES,
        features.RATING: _FLOAT,
        features.TIMESTAMP: _INT,
        features.HISTORY: _BYTES,
        features.HISTORY_RATING: _FLOAT,
        features.PROFILE: _BYTES,
        features.ITEM_STATE: _BYTES,
        features.PROPENSITY: _FLOAT,
        features.SPAN: _INT,
        features.SPAN_AGE: _BYTES,
        features.USER_GROUP: _BYTES,
        features.ITEM_GROUP: _BYTES,
    }
)


def encode(schema: pa.Schema, columns: Sequence[Sequence[list[Any] | None]]) -> list[bytes]:
    """Returns one serialized `tf.Example` for each row.

    Args:
      schema: CATALOGUE or INTERACTION.
      columns: in the order of the schema, each with the values of every row.
    """
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    examples: list[bytes] = RecordBatchToExamplesEncoder().encode(batch)
    return examples
