"""Trains a small BERT from nothing on a shop's texts; what it leaves is a folder like any other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import tensorflow as tf
import tf_keras
from transformers import BertConfig, TFBertModel

from models.encoders.encoder import TextEncoder
from models.encoders.folder import open_encoder
from models.encoders.pretraining import pretrain
from models.encoders.scratch.contrast import contrast
from models.encoders.scratch.vocabulary import SETTINGS, learn_pieces
from models.encoders.tokenizer import WordPieceTokenizer
from models.options import PretrainingOptions, ScratchOptions

_HEAD: Final = 64  # wide, as in every published BERT
_BATCH: Final = 64
_LEARNING_RATE: Final = 1e-3
_MASKED: Final = 0.15


def train_encoder(
    texts: Sequence[str], folder: Path, *, options: ScratchOptions, max_tokens: int, seed: int
) -> None:
    """Learn a vocabulary, then the weights: first masked words, then telling texts apart.

    Args:
        texts: different ones, of products and users.
        folder: is made, with `config.json`, `vocab.txt`, `tokenizer_config.json` and
            `tf_model.h5`.
        options: of the encoder and its training.
        max_tokens: word pieces of a text that are read.
        seed: of weights and sampling.
    """
    tf_keras.utils.set_random_seed(seed)
    _write_untrained(folder, learn_pieces(texts, options.vocabulary_size), options)
    opened = open_encoder(str(folder))
    encoder = TextEncoder(opened, trainable_layers=-1)
    tokenizer = WordPieceTokenizer(opened)
    read = tokenizer.encoder_input(tokenizer.pieces(tf.constant(list(texts))), max_tokens)
    tokens = np.unique(read.numpy().astype(np.int32), axis=0)
    pretrain(
        encoder, opened, tokens, seed=seed,
        options=PretrainingOptions(
            steps=options.steps, batch_items=_BATCH, masked_share=_MASKED,
            learning_rate=_LEARNING_RATE,
        ),
    )  # fmt: skip
    contrast(
        encoder, tokens, steps=options.steps, batch=_BATCH, learning_rate=_LEARNING_RATE, seed=seed
    )
    encoder.bert.save_pretrained(folder)


def _write_untrained(folder: Path, pieces: Sequence[str], options: ScratchOptions) -> None:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("".join(f"{p}\n" for p in pieces), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS))
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden_size // _HEAD,
        intermediate_size=4 * options.hidden_size,
    )
    model = TFBertModel(config, add_pooling_layer=False)
    model.build_in_name_scope()
    model.save_pretrained(folder)
