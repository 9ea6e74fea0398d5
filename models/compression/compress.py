"""Makes a text encoder as small as the configuration says, or builds such a one again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.arrays import Floats, Tokens
from models.compression.int8 import quantize
from models.compression.layers import teach_layers, untaught_layers
from models.compression.pruning import prune
from models.compression.static import teach_static, untaught_static
from models.compression.teaching import Lessons
from models.encoders.encoder import SentenceEncoder, TextEncoder
from models.encoders.folder import EncoderFolder
from models.options import CompressionOptions
from models.training_state import assign


def compress(
    encoder: TextEncoder,
    folder: EncoderFolder,
    tokens: Tokens,
    vectors: Floats,
    *,
    read: Callable[[SentenceEncoder, Tokens], Floats],
    options: CompressionOptions,
    seed: int,
) -> SentenceEncoder:
    """First a student is taught, then small weights are dropped, then all are rounded.

    Args:
        encoder: the teacher, which stays as it is.
        folder: it was loaded from.
        tokens: int32 [I, T] of the catalogue.
        vectors: float32 [I, hidden], as the encoder reads them.
        read: encodes further texts.
        options: what is done.
        seed: of teaching.
    """
    found: SentenceEncoder
    if options.student == "none":
        # Its own copy: what is traced of an encoder keeps the weights that it was traced with.
        found = TextEncoder(folder)
        assign(found.variables, [variable.numpy() for variable in encoder.variables])
    else:
        lessons = Lessons.of(
            tokens, vectors, read=lambda texts: read(encoder, texts), pad_id=folder.pad_id,
            seed=seed,
        )  # fmt: skip
        if options.student == "static":
            found = teach_static(encoder, folder, lessons)
        else:
            found = teach_layers(
                encoder, folder, lessons, layers=options.layers, steps=options.steps, seed=seed
            )
    if options.pruned_share:
        prune(found, options.pruned_share)
    if options.is_in_8_bits:
        quantize(found)
    return found


def restored(
    folder: EncoderFolder, options: CompressionOptions, weights: Sequence[npt.NDArray[Any]]
) -> SentenceEncoder:
    """A compressed encoder again, from its weights."""
    if options.student == "static":
        found: SentenceEncoder = untaught_static(folder)
    elif options.student == "layers":
        found = untaught_layers(folder, options.layers)
    else:
        found = TextEncoder(folder)
    if options.is_in_8_bits:
        quantize(found)
    assign(found.variables, weights)
    return found


def weight_bytes(encoder: SentenceEncoder) -> int:
    """Of all weights, without anything else that is saved with them."""
    return int(sum(np.prod(v.shape) * v.dtype.size for v in encoder.variables))
