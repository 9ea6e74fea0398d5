"""Finds the items of a large catalogue that deserve a full score, by one scan over embeddings.

The scan is exact; what it ranks by is an estimate, a user's direction times an item's embedding. It
goes through the catalogue in pieces that fit into the processor's caches once they are widened to
float32, and keeps of each small block of neighbours only the best estimate: the k best items lie in
the k best blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import tensorflow as tf

BLOCK: Final = 4
# Items of a piece.
_PIECE: Final = 1 << 13
# Estimates that are held at a time: users times items.
_HELD: Final = 1 << 20

Adjust = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def shortlist(
    directions: tf.Tensor, embeddings: tf.Tensor, blocks: tf.Tensor, *, adjust: Adjust
) -> tf.Tensor:
    """Rows of the blocks with the best estimates, in rising order for each user.

    Args:
        directions: float32 [B, D].
        embeddings: bfloat16 [I, D].
        blocks: int32 [], how many blocks to take; fewer where there are fewer.
        adjust: given estimates float32 [N, B] of the items from `start` to `end`, returns what to
            rank by.

    Returns:
        int32 [B, N]; the last items, too few for a block, are always among them.
    """
    items = tf.shape(embeddings)[0]
    whole = items // BLOCK
    best = _block_maxima(directions, embeddings, whole, adjust)
    chosen = tf.sort(tf.math.top_k(best, k=tf.minimum(blocks, whole)).indices, axis=1)
    users, taken = tf.unstack(tf.shape(chosen))
    # Without -1, which no reshape of nothing can find out.
    rows = tf.reshape(chosen[:, :, tf.newaxis] * BLOCK + tf.range(BLOCK), [users, taken * BLOCK])
    rest = tf.range(whole * BLOCK, items)
    return tf.concat([rows, tf.tile(rest[tf.newaxis], [users, 1])], axis=1)


def _block_maxima(
    directions: tf.Tensor, embeddings: tf.Tensor, whole: tf.Tensor, adjust: Adjust
) -> tf.Tensor:
    """The best estimate of each block: float32 [B, blocks]."""
    users = tf.shape(directions)[0]
    step = tf.maximum(tf.minimum(_HELD // tf.maximum(users, 1), _PIECE) // BLOCK, 1) * BLOCK
    # Nothing can't be brought together, so a catalogue without a whole block is one empty piece.
    pieces = tf.maximum((whole * BLOCK + step - 1) // step, 1)

    def scan(piece: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        start = piece * step
        end = tf.minimum(start + step, whole * BLOCK)
        piece_embeddings = tf.cast(embeddings[start:end], tf.float32)
        estimates = tf.matmul(piece_embeddings, directions, transpose_b=True)
        blocks = tf.reshape(adjust(estimates, start, end), [(end - start) // BLOCK, BLOCK, users])
        return piece + 1, found.write(piece, tf.reduce_max(blocks, axis=1))

    found = tf.TensorArray(tf.float32, size=pieces, infer_shape=False, element_shape=[None, None])
    _, found = tf.while_loop(
        lambda piece, _: piece < pieces, scan, (tf.constant(0), found), parallel_iterations=1
    )
    return tf.transpose(found.concat())
