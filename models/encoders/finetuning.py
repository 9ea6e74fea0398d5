"""Fine-tuning of the encoder on pairs from one history.

On long and mixed histories such pairs teach little but what is popular, and can ruin an encoder
that was good. So the frozen and the fine-tuned encoder are compared on a simulated launch, and the
better one is kept (`models.encoded`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from models.devices.fitting import fit
from models.devices.replicas import gathered
from models.encoders.encoder import TextEncoder
from models.options import FineTuningOptions

Pairs = dict[str, npt.NDArray[np.generic]]
Tensors = dict[str, tf.Tensor]
_DECAY_TO = 0.02
SIDES = ("query", "candidate")


class PairModel(tfrs.Model):
    """Two items of one history attract each other; the others of the batch repel.

    The loss is an in-batch softmax, corrected for the popularity of the sampled candidates (Yi et
    al. 2019, "Sampling-bias-corrected neural modeling") and without accidental hits, both TFRS'.
    """

    def __init__(
        self, encoder: TextEncoder, temperature: float, *, adversarial_epsilon: float = 0.0
    ) -> None:
        super().__init__()
        self._encoder = encoder
        self._epsilon = adversarial_epsilon
        self._task = tfrs.tasks.Retrieval(remove_accidental_hits=True, temperature=temperature)

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The encoder's: Keras neither looks into a `tf.Module` nor knows which are frozen."""
        return list(self._encoder.trainable_variables)

    def compute_loss(
        self, inputs: Tensors, training: bool = False, shift: Tensors | None = None
    ) -> tf.Tensor:
        """Loss of one micro-batch of N pairs, a float32 scalar.

        With several replicas, this one's share: its queries, against the candidates of all.

        Args:
            inputs: query and candidate int [N, T], candidate_row [N], probability [N].
            training: whether dropout applies.
            shift: of the word vectors of both sides, float32 [N, T, hidden].
        """
        query, candidate = (
            self._encoder(inputs[side], training=training, shift=shift and shift[side])
            for side in SIDES
        )
        return self._task(
            query,
            gathered(candidate),
            candidate_sampling_probability=gathered(inputs["probability"]),
            candidate_ids=gathered(inputs["candidate_row"]),
            compute_metrics=False,
        )

    def train_step(self, inputs: Tensors) -> Tensors:
        """One update from all micro-batches: every input is [N, accumulation, ...]."""
        micro_batches = inputs["query"].shape[1]
        variables = self.trainable_variables
        total = [tf.zeros_like(v) for v in variables]
        losses = []
        for part in range(micro_batches):
            loss, gradients = self._gradients({k: v[:, part] for k, v in inputs.items()})
            total = [t + g / micro_batches for t, g in zip(total, gradients, strict=True)]
            losses.append(loss)
        self.optimizer.apply_gradients(zip(total, variables, strict=True))
        return {"loss": tf.add_n(losses) / micro_batches}

    def _gradients(self, inputs: Tensors) -> tuple[tf.Tensor, list[tf.Tensor]]:
        variables = self.trainable_variables
        if not self._epsilon:
            with tf.GradientTape() as tape:
                loss = self.compute_loss(inputs, training=True)
            return loss, _dense(tape.gradient(loss, variables, unconnected_gradients="zero"))
        none = {side: tf.zeros([*inputs[side].shape, self._encoder.hidden_size]) for side in SIDES}
        with tf.GradientTape() as tape:
            tape.watch(none)
            loss = self.compute_loss(inputs, training=True, shift=none)
        plain, uphill = tape.gradient(loss, (variables, none), unconnected_gradients="zero")
        shift = adversarial_shift(uphill, self._epsilon)
        with tf.GradientTape() as tape:
            worst = self.compute_loss(inputs, training=True, shift=shift)
        hardened = tape.gradient(worst, variables, unconnected_gradients="zero")
        both = zip(_dense(plain), _dense(hardened), strict=True)
        return loss, [one + other for one, other in both]


def adversarial_shift(gradient: Tensors, epsilon: float) -> Tensors:
    """ε g / |g| for each text: the small shift of its word vectors that costs most.

    Miyato et al. 2017, "Adversarial training methods for semi-supervised text classification",
    equation 6; also called the fast gradient method.

    Args:
        gradient: of the loss by the word vectors, float32 [N, T, hidden] of each side.
        epsilon: length of the shift of a text.
    """
    return {
        side: tf.stop_gradient(epsilon * tf.math.l2_normalize(of_side, axis=[1, 2]))
        for side, of_side in gradient.items()
    }


def finetune(
    encoder: TextEncoder,
    tokens: npt.NDArray[np.int32],
    histories: sp.csr_matrix,
    *,
    options: FineTuningOptions,
    seed: int,
    checkpoints: Path | None = None,
) -> list[float]:
    """Fine-tune the encoder's unfrozen weights in place.

    Args:
        encoder: with its freezing policy applied, made in the same scope of a strategy.
        tokens: int32 [I, T] of the catalogue.
        histories: users x items of 0 and 1, from which pairs are drawn.
        options: steps, batch, learning rate.
        seed: of the sampling.
        checkpoints: folder from which a killed training goes on; None for none.

    Returns:
        The loss of each step.
    """
    if not options.steps:
        return []
    model = PairModel(encoder, options.temperature, adversarial_epsilon=options.adversarial_epsilon)
    model.compile(
        optimizer=tf_keras.optimizers.AdamW(
            _schedule(options), weight_decay=options.weight_decay, clipnorm=1.0,
            use_ema=options.ema_momentum > 0, ema_momentum=options.ema_momentum,
        )
    )  # fmt: skip
    return fit(
        model,
        lambda: _sample_pairs(tokens, histories, options, encoder.pad_id, seed),
        steps=options.steps,
        checkpoints=checkpoints,
    )


def has_pairs(histories: sp.csr_matrix) -> bool:
    """Whether there is anything to fine-tune on: a user with two items."""
    return len(_with_pairs(histories)) > 0


def drop_tokens(
    tokens: npt.NDArray[np.int32], share: float, *, pad_id: int, random: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Leave out a random share of the word pieces: word dropout (Iyyer et al. 2015).

    Args:
        tokens: int32 [..., T], padded on the right; the first and the last token of a text, its
            [CLS] and [SEP], stay.
        share: of the others.
        pad_id: of padding.
        random: decides which.

    Returns:
        int32 of the same shape, closed up and padded on the right.
    """
    real = tokens != pad_id
    last = real.sum(axis=-1, keepdims=True) - 1
    place = np.arange(tokens.shape[-1])
    dropped = (place > 0) & (place < last) & (random.random(tokens.shape) < share)
    order = np.argsort(dropped | ~real, axis=-1, kind="stable")
    return np.take_along_axis(np.where(dropped, pad_id, tokens), order, axis=-1)


def _dense(gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Those of word vectors come as slices."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _sample_pairs(
    tokens: npt.NDArray[np.int32],
    histories: sp.csr_matrix,
    options: FineTuningOptions,
    pad_id: int,
    seed: int,
) -> Iterator[Pairs]:
    """Endless batches of pairs; both items are drawn from one user's history."""
    random = np.random.default_rng(seed)
    users = _with_pairs(histories)
    popularity = histories.getnnz(axis=0)
    probability = (popularity / popularity.sum()) ** options.popularity_exponent
    shape = (options.batch_pairs, options.accumulation)
    while True:
        chosen = random.choice(users, np.prod(shape))
        pairs = [random.choice(_row(histories, user), 2, replace=False) for user in chosen]
        rows = np.stack(pairs).reshape(*shape, 2)
        texts = tokens[rows]
        if options.token_dropout:
            texts = drop_tokens(texts, options.token_dropout, pad_id=pad_id, random=random)
        yield {
            "query": texts[..., 0, :],
            "candidate": texts[..., 1, :],
            "candidate_row": rows[..., 1].astype(np.int64),
            "probability": probability[rows[..., 1]].astype(np.float32),
        }


def _with_pairs(histories: sp.csr_matrix) -> npt.NDArray[np.int64]:
    users: npt.NDArray[np.int64] = np.flatnonzero(histories.getnnz(axis=1) >= 2)
    return users


def _row(matrix: sp.csr_matrix, row: int) -> npt.NDArray[np.int32]:
    columns: npt.NDArray[np.int32] = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
    return columns


def _schedule(options: FineTuningOptions) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    return tf_keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(options.steps - options.warmup_steps, 1),
        alpha=_DECAY_TO,
        warmup_target=options.learning_rate,
        warmup_steps=options.warmup_steps,
    )
