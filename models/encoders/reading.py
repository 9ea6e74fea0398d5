"""Texts of a catalogue or of users as the frozen encoder reads them, in batches."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models.arrays import Floats
from models.encoders.encoder import SentenceEncoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.interactions import Profiles, Users

_BATCH: Final = 64


def encode(encoder: SentenceEncoder, tokens: npt.NDArray[np.int32]) -> Floats:
    """Encode padded tokens [N, T] to float32 [N, hidden], shortest first to save padding."""
    if not len(tokens):
        return np.zeros((0, encoder.hidden_size), np.float32)
    order = np.argsort((tokens != encoder.pad_id).sum(axis=1), kind="stable")
    parts = [
        encoder.infer(tf.constant(tokens[order[start : start + _BATCH]])).numpy()
        for start in range(0, len(tokens), _BATCH)
    ]
    encoded = np.empty((len(tokens), parts[0].shape[1]), np.float32)
    encoded[order] = np.concatenate(parts)
    return encoded


def encode_profiles(
    encoder: SentenceEncoder, tokenizer: WordPieceTokenizer, users: Users, max_tokens: int
) -> Profiles:
    """Encode each distinct profile once."""
    texts, place = np.unique(users.profiles, return_inverse=True)
    pieces = tokenizer.pieces(tf.constant(list(texts)))
    tokens = tokenizer.encoder_input(pieces, max_tokens).numpy().astype(np.int32)
    encoded = encode(encoder, tokens)
    encoded[texts == b""] = 0.0
    return Profiles(encoded, place.astype(np.int32))
