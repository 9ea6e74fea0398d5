"""Text encoders: token ids in, mean-pooled sentence vectors out; mostly a Hugging Face TF BERT.

Weights in PyTorch's layout are loaded through numpy, because `from_pretrained` of the transformers
versions that still have TensorFlow code can't read such a safetensors file
(https://github.com/huggingface/transformers, `'builtins.safe_open' object is not iterable`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
from safetensors.numpy import load_file
from transformers import BertConfig, TFBertModel
from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model
from transformers.utils import logging as transformers_logging

from models.encoders.adaptation import adapt
from models.encoders.depth import check_kept
from models.encoders.flat_dense import flatten_dense_layers
from models.encoders.folder import EncoderFolder
from models.errors import BadInput
from models.options import Adaptation
from models.tracing import traced_once

# int32 [B, L] to float32 [B, L, hidden]; a `tf.Module`, so that its weights are saved.
WordVectors = Callable[[tf.Tensor], tf.Tensor]


class SentenceEncoder(tf.Module):
    """The mean over the states of real tokens, scaled to unit length; subclasses make the states.

    Mean pooling and the unit length are what the packaged encoder was trained for
    (Reimers & Gurevych 2019, "Sentence-BERT", section 3).
    """

    def __init__(self, *, pad_id: int, hidden_size: int) -> None:
        super().__init__(name="text_encoder")
        self.pad_id = pad_id
        self.hidden_size = hidden_size
        tokens = tf.TensorSpec([None, None], tf.int32)
        self.infer_states = traced_once(self._states_of_any, tokens)
        self.infer = traced_once(lambda tokens: _pooled(*self.infer_states(tokens)), tokens)

    def __call__(
        self, tokens: tf.Tensor, *, training: bool = False, shift: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Encode int [B, T] token ids to float32 [B, hidden], each of unit length.

        Args:
            tokens: padded on the right.
            training: whether dropout applies.
            shift: float32 [B, T, hidden], added to the word vectors.
        """
        return _pooled(*self.states(tokens, training=training, shift=shift))

    def states(
        self, tokens: tf.Tensor, *, training: bool = False, shift: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The last hidden states, cut to the longest text of the batch.

        Args:
            tokens: int [B, T], padded on the right.
            training: whether dropout applies.
            shift: float32 [B, T, hidden], added to the word vectors.

        Returns:
            [B, L, hidden] of the encoder's precision, and bool [B, L], False where padded.
        """
        raise NotImplementedError

    def _states_of_any(self, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`states`, also of a batch without texts, which attention can't shape: one stands in."""
        texts = tf.shape(tokens)[0]
        more = tf.cast(texts == 0, tf.int32)
        states, mask = self.states(
            tf.pad(tokens, [[0, more], [0, 0]], constant_values=self.pad_id + 1)
        )
        return states[:texts], mask[:texts]

    def cut(self, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokens int32 [B, L] without what is padding in all texts, and bool [B, L] as above."""
        tokens = tf.cast(tokens, tf.int32)
        mask = tf.not_equal(tokens, self.pad_id)
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1))
        return tokens[:, :longest], mask[:, :longest]


class TextEncoder(SentenceEncoder):
    """BERT followed by the mean."""

    def __init__(
        self, folder: EncoderFolder, *, trainable_layers: int = 0, adaptation: Adaptation = "full",
        adaptation_size: int = 1, layers: int | None = None,
    ) -> None:  # fmt: skip
        """Load the weights and apply the freezing policy.

        Args:
            folder: a checked encoder folder.
            trainable_layers: how many of the top layers are fine-tuned; 0 freezes the encoder,
                -1 fine-tunes all of it, the token embeddings included.
            adaptation: which weights of those, or beside them; see `models.encoders.adaptation`.
            adaptation_size: rank, width or length of what is added.
            layers: how many of the lowest layers are kept; None for all.
        """
        super().__init__(pad_id=folder.pad_id, hidden_size=folder.hidden_size)
        bert = _load(folder)
        flatten_dense_layers(bert)
        if layers is not None:
            _keep_lowest(bert, layers)
        tuned, prefix = adapt(
            bert, trainable_layers=trainable_layers, adaptation=adaptation, size=adaptation_size
        )
        # Only the weights are tracked. Of a tracked Keras model, `tf.saved_model.save` traces the
        # call of every single layer, which takes minutes and as much longer at every load.
        self._untracked = _Untracked(bert, tuned)
        self._weights = list(bert.variables)
        self._words: WordVectors | None = None
        self._prefix = prefix
        self._dtype = bert.compute_dtype

    @property
    def bert(self) -> TFBertModel:
        """The Keras model."""
        return self._untracked.model

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """What the freezing policy and the adaptation leave to fine-tune."""
        return self._untracked.tuned

    def replace_words(self, words: WordVectors) -> None:
        """Read word vectors from elsewhere, and track what is left of the weights anew."""
        own = self.bert.bert.embeddings.weight
        self._words = words
        self._weights = [variable for variable in self.bert.variables if variable is not own]

    # AutoGraph would rewrite all of transformers' code to no effect.
    @tf.autograph.experimental.do_not_convert
    def states(
        self, tokens: tf.Tensor, *, training: bool = False, shift: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """As of every encoder."""
        tokens, mask = self.cut(tokens)
        attended = tf.cast(mask, tf.int32)
        given = {"attention_mask": attended} if self._prefix is None else self._prefix(attended)
        if shift is None and self._words is None:
            given["input_ids"] = tokens
        else:
            vectors = self._word_vectors(tokens)
            if shift is not None:
                vectors += shift[:, : tf.shape(tokens)[1]]
            # Keras wants the first argument in any case.
            given |= {"input_ids": None, "inputs_embeds": tf.cast(vectors, self._dtype)}
        return self.bert(**given, training=training).last_hidden_state, mask

    def _word_vectors(self, tokens: tf.Tensor) -> tf.Tensor:
        if self._words is not None:
            return self._words(tokens)
        return tf.gather(self.bert.bert.embeddings.weight, tokens)


def _pooled(hidden: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The mean over real tokens, scaled to unit length: [B, L, hidden] to float32 [B, hidden]."""
    weights = tf.cast(mask, hidden.dtype)[:, :, tf.newaxis]
    pooled = tf.reduce_sum(hidden * weights, axis=1) / tf.reduce_sum(weights, axis=1)
    return tf.math.l2_normalize(tf.cast(pooled, tf.float32), axis=-1)


@dataclass(frozen=True)
class _Untracked:
    """Hides a model from TensorFlow's tracking of attributes."""

    model: TFBertModel
    tuned: tuple[tf.Variable, ...]


def _keep_lowest(bert: TFBertModel, layers: int) -> None:
    every = bert.bert.encoder.layer
    check_kept(len(every), layers)
    bert.bert.encoder.layer = every[:layers]


def _load(folder: EncoderFolder) -> TFBertModel:
    transformers_logging.set_verbosity_error()
    try:
        model, info = _read(folder)
    except ValueError as error:  # of another shape
        raise BadInput(
            f"{folder.weights_file} does not fit its own config.json ({error}). Copy the folder "
            "again."
        ) from error
    # transformers would leave them as they were drawn.
    if missing := sorted(info["missing_keys"]):
        raise BadInput(
            f"{folder.weights_file} lacks {len(missing)} weights of its own config.json, the first "
            f"is {missing[0]}. Copy the folder again."
        )
    return model


def _read(folder: EncoderFolder) -> tuple[TFBertModel, dict[str, list[str]]]:
    """The model, and what transformers tells of its weights."""
    if folder.weights_file.suffix == ".h5":
        model, info = TFBertModel.from_pretrained(
            folder.path, add_pooling_layer=False, output_loading_info=True
        )
    else:
        model, info = load_pytorch_state_dict_in_tf2_model(
            TFBertModel(BertConfig.from_pretrained(folder.path), add_pooling_layer=False),
            load_file(folder.weights_file), allow_missing_keys=True, output_loading_info=True,
        )  # fmt: skip
    return model, info
