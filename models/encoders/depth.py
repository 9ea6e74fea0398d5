"""Whether an encoder has the layers and places that the configuration asks of it."""

from __future__ import annotations

from models.errors import BadInput
from models.options import Adaptation, CompressionOptions, EncoderOptions


def check_depth(available: int, encoder: EncoderOptions, compression: CompressionOptions) -> None:
    """Refuse, before anything is computed, what the Trainer could not do with this encoder.

    Args:
        available: layers that it has.
        encoder: what is fine-tuned of it.
        compression: what is kept of it.

    Raises:
        BadInput: there are not so many layers, or prefixes are asked for in some layers only.
    """
    check_trained(available, encoder.trainable_layers, encoder.adaptation)
    if compression.student == "layers":
        check_kept(available, compression.layers)


def check_length(available: int, max_tokens: int) -> None:
    """Refuse to read longer texts than the encoder has positions for.

    Where it reads on a GPU it would not fail, but take zeros for what it lacks.

    Args:
        available: positions that it has.
        max_tokens: word pieces of a text that are read.

    Raises:
        BadInput: there are not so many.
    """
    if max_tokens > available:
        raise BadInput(
            f"features.max_tokens is {max_tokens}; this encoder reads {available} word pieces of a "
            "text at most. Give no more than that."
        )


def check_trained(available: int, trainable_layers: int, adaptation: Adaptation) -> None:
    """Refuse to fine-tune layers that are not there, or prefixes in some layers only.

    Args:
        available: layers that the encoder has.
        trainable_layers: top layers to fine-tune; 0 for none, -1 for all and the embeddings.
        adaptation: which of their weights.

    Raises:
        BadInput: it can't be done.
    """
    if not -1 <= trainable_layers <= available:
        raise BadInput(
            f"encoder.trainable_layers is {trainable_layers}; this encoder has {available} "
            "layers. Give 0 (frozen) to that many, or -1 for all weights."
        )
    if adaptation == "prefix" and trainable_layers not in (-1, 0, available):
        raise BadInput(
            f"encoder.trainable_layers is {trainable_layers}, but encoder.adaptation 'prefix' "
            "puts prefixes in every layer. Give -1."
        )


def check_kept(available: int, layers: int) -> None:
    """Refuse to keep more layers than there are.

    Raises:
        BadInput: it can't be done.
    """
    if layers > available:
        raise BadInput(
            f"compression.layers is {layers}; this encoder has {available} layers. Give fewer."
        )
