"""The towers, the retrieval score and the shelf again, in plain numpy, one user at a time."""

from __future__ import annotations

import numpy as np

# Half of bfloat16's widest step below 1.
ROUNDED = 2e-3


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def text_kernel(terms, text, one, other):
    """Of two rows, by the definition."""
    return (terms[one] @ terms[other] + max(text[one] @ text[other], 0.0) ** 4) / 2


def agreement(view, one, other, order):
    """Brand, price and place in the order of ids, of two rows."""
    total = float(view.brand[one] == view.brand[other] != -1)
    if not np.isnan(view.price[one] + view.price[other]):
        total += np.exp(-abs(view.price[one] - view.price[other]) / 0.1)
    apart = abs(view.place[one] - view.place[other])
    return total + order * (np.exp(-apart / 0.003) + np.exp(-apart / 0.1))


def kernel_matrix(view, settings):
    """All items with one another."""
    rows, terms = range(len(view.place)), view.terms.toarray()
    side = np.array(
        [[agreement(view, one, other, settings.order) for other in rows] for one in rows]
    )
    text = np.array([[text_kernel(terms, view.text, one, other) for other in rows] for one in rows])
    product, most = text * (1 + side), np.diag(side)
    product *= (1 - settings.side) / (1 + most).mean()
    return product + settings.side * side / max(most.mean(), 1e-6)


def aligned(kernel, anchors, history, ridge):
    """Weights of the anchors for every item, with predicted co-purchase factors blended in.

    Args:
        kernel: of all items.
        anchors: rows.
        history: users x anchors of 0 and 1.
        ridge: the noise of an anchor of average popularity.
    """
    kernel = kernel + 0.05
    among, towards = kernel[np.ix_(anchors, anchors)], kernel[anchors]
    users = np.sqrt(np.maximum(history.sum(axis=1, keepdims=True), 1))
    items = np.sqrt(np.maximum(history.sum(axis=0), 1))
    _, values, vectors = np.linalg.svd(history / users / items, full_matrices=False)
    count = min(64, min(history.shape) - 1)
    factors = vectors[:count].T * np.sqrt(values[:count])
    ridged = among + np.eye(len(anchors))
    predicted = unit(towards.T @ np.linalg.solve(ridged, factors))
    without = np.empty_like(factors)
    for place in range(len(anchors)):
        others = np.arange(len(anchors)) != place
        left = np.linalg.solve(ridged[np.ix_(others, others)], factors[others])
        without[place] = among[place, others] @ left
    without = unit(without)
    second = np.maximum(without @ without.T, 0.0) ** 2
    np.fill_diagonal(second, 1.0)
    popularity = np.maximum(history.sum(axis=0), 1)
    noise = ridge * (popularity / popularity.mean()) ** 0.25
    system = 0.9 * among + 0.1 * (second + 0.05) + np.diag(noise)
    asked = 0.9 * towards + 0.1 * (np.maximum(without @ predicted.T, 0.0) ** 2 + 0.05)
    return np.linalg.solve(system, asked)


def in_turns(interactions, predicted, offered):
    """The order for somebody unknown: a new item on every fifth place, what isn't offered last."""
    order = []
    for kind in (offered, ~offered):
        new = sorted(np.flatnonzero(kind & (interactions == 0)), key=lambda i: -predicted[i])
        sold = sorted(np.flatnonzero(kind & (interactions > 0)), key=lambda i: -interactions[i])
        for place in range(len(new) + len(sold)):
            order.append((new if new and (place % 5 == 2 or not sold) else sold).pop(0))
    return order


class Oracle:
    """Answers what a served model should answer, from the values of its variables."""

    def __init__(self, served, purchases, quality, *, reference, candidates, anchors_per_item):
        """Take the learned values; everything else is computed anew.

        Args:
            served: the `Served` fixture.
            purchases: users x items of 0 and 1, of all splits or of the train split.
            quality: of each item, by those splits.
            reference: bool per item, those that a score is relative to.
            candidates: bool per item, those that inherit and are ranked.
            anchors_per_item: K.
        """
        self.v = {v.name.split(":")[0]: v.numpy().astype(float) for v in served.model.variables}
        table = served.table
        self.size = len(table.ids)
        self.cold = table.popularity == 0
        # As stored: rounded to 16 bits. That it is the tower's is a test of its own.
        self.embedding = served.data.embedding.astype(float)
        self.reference, self.candidates = reference, candidates
        self.anchors = np.flatnonzero(purchases.any(axis=0))
        bought = purchases[:, self.anchors]
        self.teacher = self._ease(bought, served_regularization=4.0)
        weights = aligned(
            kernel_matrix(served.view, served.settings), self.anchors, bought,
            served.settings.ridge,
        ) * candidates  # fmt: skip
        self.weights = self._strongest(weights, bought @ self.teacher, anchors_per_item)
        popularity = np.log1p(bought.sum(axis=0))
        popularity -= popularity.mean()
        predicted = popularity @ weights
        predicted[self.anchors] = popularity
        self.quality = quality
        self.popularity = predicted
        self.fallback = self._fallback(purchases.sum(axis=0), predicted)

    def tower(self, features, price_bucket):
        v = self.v
        centered = (features - v["center"]) / v["scale"]
        return unit(centered @ (v["components"] + v["embedding_shift"]) + v["price"][price_bucket])

    def _ease(self, bought, served_regularization):
        inverse = np.linalg.inv(bought.T @ bought + served_regularization * np.eye(bought.shape[1]))
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0.3)
        return weights

    def _strongest(self, weights, scores, per_item):
        """Dense items x anchors: the strongest of each item, fitted to the scores of all."""
        kept = np.zeros((self.size, len(self.anchors)))
        power = (scores**2).mean(axis=0)
        ridge = np.sqrt(1e-3 * power.mean() * len(scores))
        for item in range(self.size):
            if item in self.anchors:
                kept[item, self.anchors == item] = 1.0
                continue
            whole = weights[:, item]
            chosen = np.argsort(-np.abs(whole) * np.sqrt(power))[:per_item]
            # Ridge regression towards the whole item's weights, as least squares with more rows.
            rows = np.concatenate([scores[:, chosen], ridge * np.eye(per_item)])
            wanted = np.concatenate([scores @ whole, ridge * whole[chosen]])
            kept[item, chosen] = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        return kept.astype(np.float16).astype(float)  # as the shelf keeps them

    def _fallback(self, counts, predicted):
        logits = np.zeros(self.size)
        logits[in_turns(counts, predicted, np.ones(self.size, bool))] = -np.log(
            np.arange(self.size) + 1
        )
        return logits

    def logits(self, history, profile=None):
        """Of all items, for one user: history rows, projected profile [D] or None."""
        if not len(history):
            return self.fallback + (0.0 if profile is None else self.embedding @ profile)
        scores = self.scores(history)
        inherited = self.weights @ scores
        return np.log(np.maximum(inherited, 0.0) / (self.relative_to(scores) + 1e-4) + 0.1)

    def scores(self, history):
        """Of the anchors; an item that is none of them counts as those that it is like."""
        total = np.zeros(len(self.anchors))
        for row in sorted(set(history)):
            share = np.maximum(self.weights[row], 0.0)
            total += share / share.sum() @ self.teacher
        return total

    def relative_to(self, scores):
        """The mean new item's score, fifty times together with the anchors'."""
        new = self.weights[self.reference] @ scores
        together = np.mean([*scores, *new])
        return max((new.sum() + 50 * together) / (len(new) + 50), 0.0)

    def profile(self, text):
        """Project one encoded profile [hidden]."""
        return text @ self.v["profile_projection"]

    def rating(self, item, history, ratings=None, profile=None):
        """Of one item row (None unknown); `ratings` of the history, each None if it is unknown."""
        return float(np.clip(self.head(item, history, ratings, profile), 0.0, 1.0))

    def chance(self, weights, item, history, ratings=None, profile=None):
        """The rating with implicit feedback: by weights for heirs, for anchors, and without any."""
        is_told = item is not None and bool(np.isin(history, self.anchors).any())
        kind = int(item in self.anchors) if is_told else 2
        logit = self.logits(history, profile)[item] if is_told else 0.0
        popularity = 0.0 if item is None else self.popularity[item]
        inputs = [1.0, self.head(item, history, ratings, profile), popularity, logit]
        return float(1 / (1 + np.exp(-weights[kind] @ inputs)))

    def head(self, item, history, ratings=None, profile=None):
        """Of the rating head alone."""
        v = self.v
        bias = of_like = 0.0
        pairs = zip(history, [] if ratings is None else ratings, strict=ratings is not None)
        rated = [(row, given) for row, given in pairs if given is not None]
        if rated:
            rows, values = [row for row, _ in rated], [given for _, given in rated]
            deviation = np.asarray(values) - v["mean"] - self.quality[rows]
            bias = deviation.sum() / (len(values) + np.exp(v["log_shrinkage"]))
            if item is not None:
                like = np.maximum(self.embedding[rows] @ self.embedding[item], 0.0) ** 2
                rest = like @ (deviation - bias)
                of_like = rest / (like.sum() + np.exp(v["log_like_shrinkage"]))
        mean = self.embedding[history].mean(axis=0) if len(history) else np.zeros(8)
        return (
            v["bias_weight"] * bias
            + v["like_weight"] * of_like
            + v["quality_weight"] * (0.0 if item is None else self.quality[item])
            + mean @ v["history_weight"]
            + (0.0 if profile is None else profile @ v["profile_weight"])
            + (0.0 if item is None else self.embedding[item] @ v["item_weight"])
            + v["b"]
        )

    def ranks(self, item, history, profile=None, *, tolerance=1e-5, there=True):
        """Best and worst (rank, rank among the cold items) of an item row, None if unknown.

        They differ by the items whose logits differ by less than single precision can tell.
        """
        logits = self.logits(history, profile)
        logits[history] = logits[~(self.candidates & there)] = -np.inf
        own = -np.inf if item is None else logits[item]
        found = []
        for bound in (own + tolerance, own - tolerance):
            ahead = [other for other in np.flatnonzero(logits >= bound) if other != item]
            found.append((1 + len(ahead), 1 + int(self.cold[ahead].sum())))
        return found
