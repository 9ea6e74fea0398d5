"""Trains a tiny encoder by the strategies that are named; prints the loss of each step as JSON.

A process of its own, because devices and workers are settled before TensorFlow runs anything.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
import tf_keras

from models.compression.layers import teach_layers
from models.compression.teaching import Lessons
from models.devices.strategy import make_strategy
from models.encoders.encoder import TextEncoder
from models.encoders.finetuning import finetune
from models.encoders.folder import open_encoder
from models.encoders.pretraining import pretrain
from models.encoders.tokenizer import WordPieceTokenizer
from models.options import FineTuningOptions, PretrainingOptions
from tests.tiny_bert import write_tiny_bert

COLORS = ("red", "blue", "green", "black", "gold", "white")
TEXTS = [
    f"{color} {thing}"
    for thing in ("tea cup", "garden light", "alarm clock", "party bag")
    for color in COLORS
]
SEED = 5


class Shop:
    """Texts, and a BERT of one layer without dropout, of which each device would draw its own."""

    def __init__(self, path: Path, *, accumulation: int, epsilon: float) -> None:
        self.accumulation, self.epsilon = accumulation, epsilon
        write_tiny_bert(path)
        file = path / "config.json"
        changed = {
            "num_hidden_layers": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0
        }  # fmt: skip
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))
        self.folder = open_encoder(str(path))
        tokenizer = WordPieceTokenizer(self.folder)
        read = tokenizer.encoder_input(tokenizer.pieces(tf.constant(TEXTS)), 12)
        self.tokens = read.numpy().astype(np.int32)

    def finetuning(self, steps: int, checkpoints: Path | None) -> list[float]:
        """On the histories of users who each buy things of one color."""
        color = np.arange(len(TEXTS)) % len(COLORS)
        buyers = np.arange(30)[:, np.newaxis] % len(COLORS)
        options = FineTuningOptions(
            steps=steps, batch_pairs=8, accumulation=self.accumulation, learning_rate=1e-3,
            weight_decay=0.01, warmup_steps=2, temperature=0.1, popularity_exponent=0.5,
            token_dropout=0.1, adversarial_epsilon=self.epsilon, ema_momentum=0.5,
            self_training_pairs=0,
        )  # fmt: skip
        return finetune(
            TextEncoder(self.folder, trainable_layers=-1), self.tokens,
            sp.csr_matrix((color == buyers).astype(np.float32)), options=options, seed=SEED,
            checkpoints=checkpoints,
        )  # fmt: skip

    def pretraining(self, steps: int, checkpoints: Path | None) -> list[float]:
        """On masked words."""
        options = PretrainingOptions(
            steps=steps, batch_items=12, masked_share=0.3, learning_rate=1e-3
        )
        return pretrain(
            TextEncoder(self.folder, trainable_layers=-1), self.folder, self.tokens,
            options=options, seed=SEED, checkpoints=checkpoints,
        )  # fmt: skip

    def teaching(self, steps: int, _: Path | None) -> list[float]:
        """In place of losses, what the student says of two texts afterwards."""
        teacher = TextEncoder(self.folder)
        vectors = teacher.infer(tf.constant(self.tokens)).numpy()
        lessons = Lessons(self.tokens, vectors)
        student = teach_layers(teacher, self.folder, lessons, layers=1, steps=steps, seed=SEED)
        found: list[float] = student.infer(tf.constant(self.tokens[:2])).numpy().ravel().tolist()
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("strategies", nargs="+")
    parser.add_argument("--kinds", nargs="+", default=["finetuning"])
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--epsilon", type=float, default=0.0)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--checkpoints", type=Path)
    given = parser.parse_args()
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(given.devices)]
    )
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in given.kinds}
    for name in given.strategies:
        strategy = make_strategy(name)
        with tempfile.TemporaryDirectory() as scratch:
            shop = Shop(
                Path(scratch) / "bert", accumulation=given.accumulation, epsilon=given.epsilon
            )
            for kind in given.kinds:
                tf_keras.utils.set_random_seed(SEED)
                with strategy.scope():
                    found[kind][name] = getattr(shop, kind)(given.steps, given.checkpoints)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
