"""The towers, the retrieval score and the shelf again, in plain numpy, one user at a time."""

from __future__ import annotations

import numpy as np


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


class Oracle:
    """Answers what a served model should answer, from the values of its variables."""

    def __init__(self, served, purchases, *, anchors_per_item):
        """Take the learned values; everything else is computed anew.

        Args:
            served: the `Served` fixture.
            purchases: users x items of 0 and 1, the train split.
            anchors_per_item: K.
        """
        self.v = {v.name.split(":")[0]: v.numpy().astype(float) for v in served.model.variables}
        table = served.table
        self.size = len(table.ids)
        self.cold = table.popularity == 0
        self.embedding, key, own_demand = self.tower(
            served.features.astype(float), table.price_bucket
        )
        self.anchors = np.flatnonzero(~self.cold)
        bought = purchases[:, self.anchors]
        self.teacher = self._ease(bought, served_regularization=4.0)
        self.attention = self._attention(key, anchors_per_item)
        inherited = self.attention @ np.log1p(bought.sum(axis=0))
        self.demand = own_demand + self.v["popularity_weight"] * inherited
        self.fallback = self._fallback(table)

    def tower(self, features, price_bucket):
        v = self.v
        centered = (features - v["center"]) / v["scale"]
        projected = centered @ (v["components"] + v["embedding_shift"]) + v["price"][price_bucket]
        key = centered @ (v["components"] + v["key_shift"])
        return unit(projected), unit(key), (projected @ v["demand"])[:, 0]

    def _ease(self, bought, served_regularization):
        inverse = np.linalg.inv(bought.T @ bought + served_regularization * np.eye(bought.shape[1]))
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return weights

    def _attention(self, key, per_item):
        """Dense items x anchors; all but the strongest are 0, an anchor attends to itself."""
        sharpness = np.exp(self.v["log_attention_sharpness"])
        attention = np.zeros((self.size, len(self.anchors)))
        for item in range(self.size):
            if item in self.anchors:
                attention[item, self.anchors == item] = 1.0
                continue
            logits = sharpness * key[self.anchors] @ key[item]
            strongest = np.argsort(-logits, kind="stable")[:per_item]
            attention[item, strongest] = softmax(logits[strongest])
        return attention

    def _fallback(self, table):
        new = sorted(np.flatnonzero(table.interactions == 0), key=lambda i: -self.demand[i])
        old = sorted(np.flatnonzero(table.interactions), key=lambda i: -table.interactions[i])
        logits = np.zeros(self.size)
        for place in range(self.size):
            takes_new = new and (place % 5 == 2 or not old)
            logits[(new if takes_new else old).pop(0)] = -np.log(place + 1)
        return logits

    def logits(self, history, profile=None):
        """Of all items, for one user: history rows, projected profile [D] or None."""
        v = self.v
        affinity = 0.0 if profile is None else self.embedding @ profile
        if not len(history):
            return self.fallback + affinity
        sharpness = np.exp(v["log_sharpness"])
        cosine = self.embedding @ self.embedding[history].T
        near = np.exp(sharpness * (cosine - 1.0)).mean(axis=1)
        in_history = np.isin(self.anchors, history)
        places = [int(np.flatnonzero(self.anchors == h)[0]) for h in history if h in self.anchors]
        scores = self.teacher[places].sum(axis=0) + v["own_weight"] * in_history
        inherited = self.attention @ np.maximum(scores, 0.0)
        ratio = inherited / (inherited[self.cold].mean() + 1e-4)
        return (
            v["nearness_weight"] * np.log(near + 1e-9)
            + v["inheritance_weight"] * np.log(ratio + np.exp(v["log_floor"]))
            + self.demand
            + affinity
        )

    def profile(self, text):
        """Project one encoded profile [hidden]."""
        return text @ self.v["profile_projection"]

    def rating(self, item, history, ratings=None, profile=None):
        """Of one item row (None unknown); `ratings` of the history where they are known."""
        v = self.v
        bias = 0.0
        if ratings is not None and len(ratings):
            deviation = np.sum(np.asarray(ratings) - v["mean"])
            bias = deviation / (len(ratings) + np.exp(v["log_shrinkage"]))
        mean = self.embedding[history].mean(axis=0) if len(history) else np.zeros(8)
        return float(
            np.clip(
                v["bias_weight"] * bias
                + mean @ v["history_weight"]
                + (0.0 if profile is None else profile @ v["profile_weight"])
                + (0.0 if item is None else self.embedding[item] @ v["item_weight"])
                + v["b"],
                0.0,
                1.0,
            )
        )

    def rank(self, item, history, profile=None):
        """(rank, rank among the cold items) of an item row, or None for an unknown one."""
        logits = self.logits(history, profile)
        logits[history] = -np.inf
        own = -np.inf if item is None else logits[item]
        ahead = [other for other in np.flatnonzero(logits >= own) if other != item]
        return 1 + len(ahead), 1 + int(self.cold[ahead].sum())
