"""How much the first interactions of a new item should count, learned from how seen items began.

Simulated launches reveal the first k interactions of each hidden item. A conditional logit
(McFadden 1974) on what users bought of them afterwards gives the weights of the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from absl import logging
from scipy.optimize import minimize

from models.arrays import Doubles
from models.few_shot.clock import ShopClock
from models.few_shot.revealing import COUNTS, FEWEST_ITEMS, Launched, Revealing
from models.few_shot.weights import EvidenceWeights
from models.inheritance.aligned_launch import AlignedLaunch
from models.interactions import Interactions
from models.ranking import PLACES, ranking_quality, standard_error

STRENGTHS: Final = (0.0, 0.3, 0.6, 0.8)
_SMALLEST_SCALE: Final = 0.1


def learn_adaptation(
    launches: Sequence[AlignedLaunch],
    interactions: Interactions,
    clock: ShopClock,
    *,
    anchors_per_item: int,
) -> EvidenceWeights:
    """Learn the weights of the evidence for each number of interactions.

    A strength of 0 is among the choices, so evidence that does not help in the simulations is
    left out. Numbers that too few items reach take over the next smaller number's weights.

    Args:
        launches: simulated ones.
        interactions: the train split.
        clock: of the shop.
        anchors_per_item: K.
    """
    simulations = [
        Revealing(launch, interactions, clock, anchors_per_item)
        for launch in launches
        if len(launch.launch.users)
    ]
    learned = []
    for count in COUNTS:
        parts = [part for part in (s.reveal(count) for s in simulations) if part is not None]
        if sum(len(part.features) for part in parts) >= FEWEST_ITEMS:
            learned.append(_learn(count, parts))
    if not learned:
        return EvidenceWeights.none()
    return EvidenceWeights(*(np.array(c, np.float32) for c in zip(*learned, strict=True)))


def _learn(count: int, parts: list[Launched]) -> tuple[float | Doubles, ...]:
    """A row of `EvidenceWeights`."""
    features = np.concatenate([part.features for part in parts])
    center, spread = features.mean(axis=0), features.std(axis=0)
    precision = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
    scaled = [part.scaled(center, precision) for part in parts]
    fitted = _conditional_logit(scaled, ridge=1.0 / len(features))
    # As a multiple of the text model's logits, which are served as they are.
    weights = fitted[1:] / max(fitted[0], _SMALLEST_SCALE)
    strength = _strength(scaled, weights)
    logging.info("Evidence of %d interactions counts with a strength of %g", count, strength)
    weights = weights * strength
    level = (
        strength * float(np.mean([part.level for part in parts])) / max(fitted[0], _SMALLEST_SCALE)
    )
    return count, center, precision, weights[:-2], weights[-2], weights[-1], level


def _conditional_logit(parts: list[Launched], *, ridge: float) -> Doubles:
    """Users choose among the items, every user with the same weight.

    Returns:
        float64 [1 + F + 2]: weights of the text model's logits, of the features, and of the two
        log-ratios.
    """
    width = parts[0].features.shape[1]
    targets = [part.wanted / part.wanted.sum(axis=1, keepdims=True) for part in parts]

    def loss(w: Doubles) -> tuple[float, Doubles]:
        value = ridge * float(np.sum(w[1:] ** 2)) / 2
        gradient = np.concatenate([[0.0], ridge * w[1:]])
        for part, target in zip(parts, targets, strict=True):
            logits = np.float32(w[0]) * part.logits + part.added(w[1:]) + part.struck
            logits -= logits.max(axis=1, keepdims=True)
            powers = np.exp(logits)
            total = powers.sum(axis=1, keepdims=True)
            share = 1.0 / (len(logits) * len(parts))
            value -= float((target * (logits - np.log(total))).sum()) * share
            error = (powers / total - target) * np.float32(share)
            gradient += np.concatenate(
                [
                    [(error * part.logits).sum()],
                    error.sum(axis=0) @ part.features,
                    [(error * part.inherit).sum(), (error * part.own).sum()],
                ]
            )
        return value, gradient

    found: Doubles = minimize(
        loss, np.concatenate([[1.0], np.zeros(width + 2)]), jac=True, method="L-BFGS-B",
        options={"maxiter": 40, "ftol": 1e-6},
    ).x  # fmt: skip
    return found


def _strength(parts: list[Launched], weights: Doubles) -> float:
    """The strength with the best lists; 0 where it is no clear gain over the text alone."""
    found = [[_head(part, strength * weights) for part in parts] for strength in STRENGTHS]
    best = int(np.argmax([np.mean([users.mean() for users in launches]) for launches in found]))
    gains = [after - before for after, before in zip(found[best], found[0], strict=True)]
    is_clear = np.mean([users.mean() for users in gains]) > standard_error(gains)
    return STRENGTHS[best] if is_clear else STRENGTHS[0]


def _head(part: Launched, weights: Doubles) -> Doubles:
    """Mean of recall and NDCG at 20 by user: likelihood minds the whole list, users see its head.

    Returns:
        float64 [B].
    """
    logits = part.logits + part.added(weights) + part.struck
    recall, ndcg = ranking_quality(logits, part.wanted, PLACES)
    quality: Doubles = (recall + ndcg) / 2
    return quality
