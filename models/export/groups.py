"""Large batches in groups of a few users, so that their scores fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

# Numbers that are held at a time where users are scored together.
_HELD: Final = 1 << 24


def at_once(numbers: tf.Tensor) -> tf.Tensor:
    """Users that are scored together, of whom each takes so many numbers: int32 []."""
    return tf.clip_by_value(_HELD // tf.maximum(numbers, 1), 1, 64)


def in_groups(
    function: Callable[[Any], Any], asked: Any, size: tf.Tensor | int, answered: Any
) -> Any:
    """Apply a function to a few users at a time, so that large batches fit into memory.

    Args:
        function: of the structure `asked`, with fewer rows, to a structure of rows.
        asked: tensors [B, ...].
        size: users at a time.
        answered: `tf.TensorSpec`s of the answer.
    """
    rows = tf.shape(tf.nest.flatten(asked)[0])[0]

    def of_group(start: tf.Tensor, found: list[tf.TensorArray]) -> Any:
        group = tf.nest.map_structure(lambda x: x[start : start + size], asked)
        parts = tf.nest.flatten(function(group))
        place = start // size
        return start + size, [
            array.write(place, part) for array, part in zip(found, parts, strict=True)
        ]

    found = [
        tf.TensorArray(
            spec.dtype, size=0, dynamic_size=True, infer_shape=False, element_shape=spec.shape
        )
        for spec in tf.nest.flatten(answered)
    ]
    _, found = tf.while_loop(
        lambda start, _: (start < rows) | (start == 0), of_group, (tf.constant(0), found),
        parallel_iterations=1,
    )  # fmt: skip
    return tf.nest.pack_sequence_as(answered, [array.concat() for array in found])
