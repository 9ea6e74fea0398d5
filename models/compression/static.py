"""A student without layers: one vector a word piece, whose mean is the text's vector.

It starts with how the teacher reads each word piece alone (Tulkens & van Dongen 2024, "Model2Vec"),
and is then corrected by a ridge regression on whole texts, in closed form.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
from scipy.sparse.linalg import lsqr

from models.arrays import Floats
from models.compression.teaching import Lessons
from models.encoders.encoder import SentenceEncoder, WordVectors
from models.encoders.folder import EncoderFolder

_RIDGE: Final = 1e-3
_ITERATIONS: Final = 60
_BATCH: Final = 1024


class StaticEncoder(SentenceEncoder):
    """The mean of the vectors of a text's word pieces, [CLS] and [SEP] among them."""

    def __init__(self, words: WordVectors, *, pad_id: int, hidden_size: int) -> None:
        super().__init__(pad_id=pad_id, hidden_size=hidden_size)
        self.words = words

    def states(
        self, tokens: tf.Tensor, *, training: bool = False, shift: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As of every encoder; a word piece's state is its vector, whatever stands around it."""
        tokens, mask = self.cut(tokens)
        vectors = self.words(tokens)
        return (vectors if shift is None else vectors + shift[:, : tf.shape(tokens)[1]]), mask


class FloatTable(tf.Module):
    """Vectors of word pieces: float32 [V, hidden]."""

    def __init__(self, vectors: Floats) -> None:
        super().__init__(name="word_vectors")
        self.vectors = tf.Variable(vectors, name="vectors")

    def __call__(self, tokens: tf.Tensor) -> tf.Tensor:
        """Look up int32 [...]: float32 [..., hidden]."""
        return tf.gather(self.vectors, tokens)


def teach_static(
    teacher: SentenceEncoder, folder: EncoderFolder, lessons: Lessons
) -> StaticEncoder:
    """Fit the vectors to the lessons.

    Args:
        teacher: reads each word piece alone.
        folder: of the vocabulary.
        lessons: texts and what the teacher makes of them.
    """
    start = _alone(teacher, folder)
    means = _means(lessons.tokens, folder)
    missing = lessons.vectors - means @ start
    damp = _RIDGE**0.5
    # Each column of the vectors is a regression of its own.
    added = [lsqr(means, column, damp=damp, iter_lim=_ITERATIONS)[0] for column in missing.T]
    vectors = start + np.stack(added, axis=1)
    return untaught_static(folder, vectors.astype(np.float32))


def untaught_static(folder: EncoderFolder, vectors: Floats | None = None) -> StaticEncoder:
    """A student with these vectors float32 [V, hidden], or with zeros that are still to be set."""
    if vectors is None:
        vectors = np.zeros((folder.vocabulary_size, folder.hidden_size), np.float32)
    return StaticEncoder(FloatTable(vectors), pad_id=folder.pad_id, hidden_size=folder.hidden_size)


def _alone(teacher: SentenceEncoder, folder: EncoderFolder) -> Floats:
    """How the teacher reads each word piece between [CLS] and [SEP]: float32 [V, hidden]."""
    pieces = np.arange(folder.vocabulary_size, dtype=np.int32)
    # Padding would be no token at all.
    pieces[folder.pad_id] = folder.unk_id
    framed = np.stack(
        [np.full_like(pieces, folder.cls_id), pieces, np.full_like(pieces, folder.sep_id)], axis=1
    )
    parts = [
        teacher.infer(tf.constant(framed[at : at + _BATCH])).numpy()
        for at in range(0, len(framed), _BATCH)
    ]
    return np.concatenate(parts)


def _means(tokens: npt.NDArray[np.int32], folder: EncoderFolder) -> sp.csr_matrix:
    """What takes the mean over each text's word pieces: texts x pieces, rows of sum 1."""
    real = tokens != folder.pad_id
    row, _ = np.nonzero(real)
    weight = (1.0 / real.sum(axis=1))[row]
    shape = (len(tokens), folder.vocabulary_size)
    return sp.csr_matrix((weight, (row, tokens[real])), shape)
