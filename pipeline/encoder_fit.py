"""The encoder that a configuration names, where it has what the configuration asks of it."""

from __future__ import annotations

from models.encoders.depth import check_depth, check_length
from models.encoders.folder import EncoderFolder, open_encoder
from pipeline.config import Configuration


def fitting_encoder(config: Configuration) -> EncoderFolder:
    """Check the encoder before anything is computed with it.

    Raises:
        BadInput: it can't be used, or has fewer layers or places than are asked for.
    """
    encoder = open_encoder(config.encoder.name)
    check_depth(encoder.num_layers, config.encoder, config.compression)
    check_length(encoder.positions, config.features.max_tokens)
    return encoder
