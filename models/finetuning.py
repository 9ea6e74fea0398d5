"""Fine-tuning of the encoder on pairs from one history, kept only where new items gain.

On long and mixed histories such pairs teach little but what is popular, and can ruin an encoder
that was good. So the frozen and the fine-tuned encoder are compared on a simulated launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from models.encoder import TextEncoder
from models.options import FineTuningOptions
from models.ranking import ranking_quality
from models.simulation import SimulatedLaunch

Pairs = dict[str, npt.NDArray[np.generic]]
# Sharpness of the kernel by which encoders are compared; twice that of the item kernel.
_SHARPNESS = 8.0
_DECAY_TO = 0.02


class PairModel(tfrs.Model):
    """Two items of one history attract each other; the others of the batch repel.

    The loss is an in-batch softmax, corrected for the popularity of the sampled candidates (Yi et
    al. 2019, "Sampling-bias-corrected neural modeling") and without accidental hits, both TFRS'.
    """

    def __init__(self, encoder: TextEncoder, temperature: float) -> None:
        super().__init__()
        self._encoder = encoder
        # Named, so that Keras finds the weights inside the module.
        self._bert = encoder.bert
        self._task = tfrs.tasks.Retrieval(remove_accidental_hits=True, temperature=temperature)

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Loss of one micro-batch of N pairs, a float32 scalar."""
        return self._task(
            self._encoder(inputs["query"], training=training),
            self._encoder(inputs["candidate"], training=training),
            candidate_sampling_probability=inputs["probability"],
            candidate_ids=inputs["candidate_row"],
            compute_metrics=False,
        )

    def train_step(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update from all micro-batches: every input is [accumulation, N, ...]."""
        micro_batches = inputs["query"].shape[0]
        variables = self.trainable_variables
        total = [tf.zeros_like(v) for v in variables]
        losses = []
        for part in range(micro_batches):
            with tf.GradientTape() as tape:
                loss = self.compute_loss({k: v[part] for k, v in inputs.items()}, training=True)
            gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
            total = [t + g / micro_batches for t, g in zip(total, gradients, strict=True)]
            losses.append(loss)
        self.optimizer.apply_gradients(zip(total, variables, strict=True))
        return {"loss": tf.reduce_mean(losses)}


@dataclass(frozen=True)
class FineTuned:
    """Recall@20 on the simulated launch with the frozen and with the fine-tuned encoder."""

    before: float
    after: float
    trainable: int

    @property
    def kept(self) -> bool:
        """Whether the fine-tuned weights were kept."""
        return self.after > self.before


def finetune(
    encoder: TextEncoder,
    tokens: npt.NDArray[np.int32],
    purchases: sp.csr_matrix,
    validation: SimulatedLaunch,
    *,
    encode: Callable[[TextEncoder, npt.NDArray[np.int32]], npt.NDArray[np.float32]],
    options: FineTuningOptions,
    seed: int,
    strategy: tf.distribute.Strategy,
) -> FineTuned:
    """Fine-tune the encoder's unfrozen layers in place, or leave it as it was.

    Args:
        encoder: with its freezing policy applied.
        tokens: int32 [I, T] of the catalogue.
        purchases: users x items of 0 and 1; items outside the launch's anchors are not used.
        validation: decides whether the result is kept.
        encode: encodes a whole catalogue.
        options: steps, batch, learning rate.
        seed: of the sampling.
        strategy: built before the encoder.
    """
    before = kernel_recall(encode(encoder, tokens), validation)
    frozen = [variable.numpy() for variable in encoder.trainable_variables]
    sampler = _sample_pairs(tokens, purchases, validation.anchors, options, seed)
    dataset = tf.data.Dataset.from_generator(
        lambda: sampler, output_signature=_signature(tokens.shape[1], options)
    )
    with strategy.scope():
        model = PairModel(encoder, options.temperature)
        model.compile(
            optimizer=tf_keras.optimizers.AdamW(
                _schedule(options), weight_decay=options.weight_decay, clipnorm=1.0
            )
        )
    model.fit(dataset, steps_per_epoch=options.steps, epochs=1, verbose=0)
    after = kernel_recall(encode(encoder, tokens), validation)
    if after <= before:
        for variable, value in zip(encoder.trainable_variables, frozen, strict=True):
            variable.assign(value)
    return FineTuned(before, after, int(sum(np.prod(value.shape) for value in frozen)))


def kernel_recall(embedding: npt.NDArray[np.float32], launch: SimulatedLaunch) -> float:
    """Recall@20 of the launch by nearness to the history alone.

    Args:
        embedding: float32 [I, hidden], of unit length.
        launch: the simulated launch.
    """
    if not len(launch.users):
        return 0.0
    centered = embedding - embedding[launch.anchors].mean(axis=0)
    centered /= np.linalg.norm(centered, axis=1, keepdims=True) + 1e-9
    cosine = centered[launch.anchors] @ centered[launch.targets].T
    near = launch.history[launch.users] @ np.exp(_SHARPNESS * (cosine - 1.0))
    recall, _ = ranking_quality(near, launch.wanted[launch.users].toarray(), 20)
    return float(recall.mean())


def _sample_pairs(
    tokens: npt.NDArray[np.int32],
    purchases: sp.csr_matrix,
    allowed: npt.NDArray[np.int64],
    options: FineTuningOptions,
    seed: int,
) -> Iterator[Pairs]:
    """Endless batches of pairs; both items are drawn from one user's allowed purchases."""
    random = np.random.default_rng(seed)
    known = purchases[:, allowed].tocsr()
    users = np.flatnonzero(known.getnnz(axis=1) >= 2)
    popularity = np.asarray(known.sum(axis=0)).ravel()
    probability = (popularity / popularity.sum()) ** options.popularity_exponent
    shape = (options.accumulation, options.batch_pairs)
    while True:
        chosen = random.choice(users, np.prod(shape))
        pairs = np.stack(
            [random.choice(_row(known, user), 2, replace=False) for user in chosen]
        ).reshape(*shape, 2)
        rows = allowed[pairs]
        yield {
            "query": tokens[rows[..., 0]],
            "candidate": tokens[rows[..., 1]],
            "candidate_row": rows[..., 1],
            "probability": probability[pairs[..., 1]].astype(np.float32),
        }


def _row(matrix: sp.csr_matrix, row: int) -> npt.NDArray[np.int32]:
    columns: npt.NDArray[np.int32] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return columns


def _signature(max_tokens: int, options: FineTuningOptions) -> dict[str, tf.TensorSpec]:
    shape = [options.accumulation, options.batch_pairs]
    return {
        "query": tf.TensorSpec([*shape, max_tokens], tf.int32),
        "candidate": tf.TensorSpec([*shape, max_tokens], tf.int32),
        "candidate_row": tf.TensorSpec(shape, tf.int64),
        "probability": tf.TensorSpec(shape, tf.float32),
    }


def _schedule(options: FineTuningOptions) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    return tf_keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(options.steps - options.warmup_steps, 1),
        alpha=_DECAY_TO,
        warmup_target=options.learning_rate,
        warmup_steps=options.warmup_steps,
    )
