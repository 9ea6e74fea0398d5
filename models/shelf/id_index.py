"""From ids to rows by binary search among sorted fingerprints.

A hash table of the runtime takes six times the memory, and is filled anew on every load. Two sorted
columns are variables like any other.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.errors import BadInput
from models.interactions import PAD

_FINGERPRINTS: Final = np.iinfo(np.int64).max


def sort_ids(
    ids: npt.NDArray[np.object_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Fingerprints of I ids in rising order, int64 [I], and the row of each, int32 [I].

    Raises:
        BadInput: two ids share one, as happens in one of 18 million catalogues of a million ids.
    """
    fingerprint = _fingerprints(tf.constant(ids, tf.string)).numpy()
    row = np.argsort(fingerprint, kind="stable").astype(np.int32)
    fingerprint = fingerprint[row]
    equal = np.flatnonzero(fingerprint[1:] == fingerprint[:-1])
    if len(equal):
        one, other = ids[row[equal[0]]], ids[row[equal[0] + 1]]
        raise BadInput(f"Items {one!r} and {other!r} can't be told apart. Rename one of them.")
    return fingerprint, row


def find_rows(
    asked: tf.Tensor, *, ids: tf.Tensor, fingerprint: tf.Tensor, row: tf.Tensor
) -> tf.Tensor:
    """Rows of ids, PAD where unknown: string [..] to int64 [..].

    Args:
        asked: string [..].
        ids: string [I], in the order of the rows.
        fingerprint: of `sort_ids`.
        row: of `sort_ids`.
    """
    place = tf.searchsorted(fingerprint, tf.reshape(_fingerprints(asked), [-1]))
    place = tf.minimum(place, tf.size(fingerprint) - 1)
    found = tf.reshape(tf.gather(row, place), tf.shape(asked))
    # Another id may have the same fingerprint as one that is unknown.
    return tf.where(tf.gather(ids, found) == asked, tf.cast(found, tf.int64), PAD)


def _fingerprints(ids: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(ids, _FINGERPRINTS)
