"""What a student is taught: texts, and the vectors that the teacher gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from models.arrays import Floats, Tokens
from models.encoders.finetuning import drop_tokens
from models.sampling import at_most

_LACKING: Final = 0.3  # of a damaged text's word pieces
# Texts of the catalogue, at most: each takes 30 kB while vectors of word pieces are fitted.
MOST: Final = 65_536


class Lessons(NamedTuple):
    """N texts as a teacher reads them.

    Attributes:
        tokens: int32 [N, T], padded.
        vectors: float32 [N, hidden], of unit length.
    """

    tokens: Tokens
    vectors: Floats

    @classmethod
    def of(
        cls, tokens: Tokens, vectors: Floats, *, read: Callable[[Tokens], Floats], pad_id: int,
        seed: int,
    ) -> Lessons:  # fmt: skip
        """The catalogue's texts, and each once more without some of its words.

        A student that has only seen whole titles knows what these are, and not what their words
        are; a later product has other titles of the same words. Of more than `MOST` texts, that
        many are drawn.

        Args:
            tokens: int32 [I, T] of the catalogue.
            vectors: float32 [I, hidden], of the same, by the teacher.
            read: how the teacher reads others.
            pad_id: of padding.
            seed: of what is left out.
        """
        random = np.random.default_rng(seed)
        drawn = at_most(np.arange(len(tokens)), MOST)
        tokens, vectors = tokens[drawn], vectors[drawn]
        damaged = drop_tokens(tokens, _LACKING, pad_id=pad_id, random=random)
        return cls(np.concatenate([tokens, damaged]), np.concatenate([vectors, read(damaged)]))
