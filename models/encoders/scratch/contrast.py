"""Sentence vectors from texts alone: two damaged copies of a text attract each other.

Masked words teach what stands beside what, but leave all vectors in one narrow cone, where every
two texts are alike. Telling a text from the others of a batch spreads them (Gao et al. 2021,
"SimCSE"); copies differ by the words they lack and by dropout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import tf_keras

from models.arrays import Tokens
from models.devices.fitting import fit
from models.encoders.encoder import TextEncoder
from models.encoders.finetuning import SIDES, PairModel, drop_tokens

_LACKING: Final = 0.3  # of a copy's word pieces
_TEMPERATURE: Final = 0.05  # as SimCSE


def contrast(
    encoder: TextEncoder, tokens: Tokens, *, steps: int, batch: int, learning_rate: float, seed: int
) -> None:
    """Train the encoder's unfrozen weights in place.

    Args:
        encoder: with its freezing policy applied.
        tokens: int32 [I, T], different texts.
        steps: updates.
        batch: texts in a step, each other's negatives.
        learning_rate: of AdamW.
        seed: of the sampling.
    """
    if not steps:
        return
    model = PairModel(encoder, _TEMPERATURE)
    model.compile(optimizer=tf_keras.optimizers.AdamW(learning_rate, clipnorm=1.0))
    fit(model, lambda: _pairs(tokens, batch, encoder.pad_id, seed), steps=steps)


def _pairs(
    tokens: Tokens, batch: int, pad_id: int, seed: int
) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
    random = np.random.default_rng(seed)
    # Every text is drawn alike, so there is no popularity to correct for.
    alike = np.ones((batch, 1), np.float32)
    while True:
        rows = random.integers(0, len(tokens), (batch, 1))
        yield {
            side: drop_tokens(tokens[rows], _LACKING, pad_id=pad_id, random=random)
            for side in SIDES
        } | {"candidate_row": rows, "probability": alike}
