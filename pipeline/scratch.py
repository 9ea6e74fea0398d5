"""`encoder.name: scratch`: trains an encoder on the data folder's own texts, before the graph.

Transform needs its vocabulary and the Trainer its weights, so it has to be there when the pipeline
is defined. It lies under the root, named by a hash of what it is made from, and is trained once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from components.ingestion.folder import ITEMS, USERS, DataFolder
from components.ingestion.rows import good_records
from components.whole_folders import clear, put_at_once, written_beside
from models import features
from models.encoders.depth import check_depth
from models.encoders.folder import SCRATCH
from models.encoders.scratch.encoder import train_encoder
from models.errors import BadInput
from models.preprocessing import item_text
from pipeline.config import Configuration
from pipeline.layout import encoders_folder


def with_own_encoder(config: Configuration, data: DataFolder, root: Path) -> Configuration:
    """The configuration, with the folder of a trained encoder in place of `scratch`.

    The caller holds the root meanwhile, by `lock.alone`.

    Args:
        config: of the run.
        data: whose products and users are read.
        root: under which the encoder is kept.

    Raises:
        BadInput: more of its layers are asked for than it is to have, or there are no texts.
    """
    if config.encoder.name != SCRATCH:
        return config
    check_depth(config.scratch.layers, config.encoder, config.compression)
    texts = _texts(config, data)
    options, max_tokens, seed = config.scratch, config.features.max_tokens, config.training.seed
    facts = f"{options.model_dump_json()} {max_tokens} {seed}\n"
    name = hashlib.sha256("\n".join([facts, *texts]).encode()).hexdigest()[:16]
    base = encoders_folder(root)
    folder = base / name
    if not folder.is_dir():
        logging.info("Training an encoder from scratch on %d texts", len(texts))
        base.mkdir(parents=True, exist_ok=True)
        clear(base)
        with written_beside(base) as hidden:
            train_encoder(texts, hidden, options=options, max_tokens=max_tokens, seed=seed)
            put_at_once(hidden, folder)
    encoder = config.encoder.model_copy(update={"name": str(folder)})
    return config.model_copy(update={"encoder": encoder})


def _texts(config: Configuration, data: DataFolder) -> list[str]:
    """The different texts of products and users, sorted; rows that can't be read have none.

    Raises:
        BadInput: there are none at all.
    """
    products: list[tuple[str, ...]] = []
    profiles: set[str] = set()
    options = config.data.options()
    for file in data.files:
        if file.table not in (ITEMS, USERS):
            continue
        for _, values in good_records(file, options, None):
            if file.table == ITEMS:
                products.append(values[: len(features.ITEM_TEXT)])
            else:
                profiles.add(values[0])
    columns = np.array(products, np.object_).reshape(-1, len(features.ITEM_TEXT)).T
    read = item_text(
        {
            name: tf.constant(column, tf.string)
            for name, column in zip(features.ITEM_TEXT, columns, strict=True)
        }
    )
    texts = ({text.decode() for text in read.numpy()} | profiles) - {""}
    if not texts:
        raise BadInput(
            f"encoder.name is {SCRATCH!r}, but no product of {data.path} has a text to learn from. "
            "Look at the rows of its items, or name another encoder."
        )
    return sorted(texts)
