"""The reference methods: one recomputed by loops, the others against what they must find."""

import importlib.util
import math
import re
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.cold_split import make_split, read_split
from benchmarks.quality import AT, measure
from benchmarks.references import MEANING, REFERENCES, WORDS, Likeness, words
from models.ranking import ranking_quality
from tests.benchmarks.shop import write_shop

RANKING = [reference for reference in REFERENCES if reference.rank]
RATING = [reference for reference in REFERENCES if reference.rate]


def rank(reference, shop, like):
    assert reference.rank is not None
    return reference.rank(shop, like)


def rate(reference, shop, like):
    assert reference.rate is not None
    return reference.rate(shop, like)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    make_split(write_shop(folder / "data"), folder / "split", seed=7)
    return read_split(folder / "split")


@pytest.fixture(scope="module")
def like(shop):
    """Words as they are; in place of an encoder, the same words reduced to a few dimensions."""
    found = words(shop)
    dense = np.linalg.svd(found.toarray(), full_matrices=False)
    dense = (dense[0] * dense[1])[:, :12].astype(np.float32)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    made = {}
    for kind, features in ((WORDS, found), (MEANING, dense)):
        cosine = features @ features[shop.candidates].T
        cosine = cosine.toarray() if sp.issparse(cosine) else cosine
        made[kind] = Likeness(features, np.maximum(cosine, 0), 0.5)
    return made


def test_tf_idf_knn_is_the_sum_of_cubed_cosines(shop, like):
    """By hand: sublinear TF, smoothed IDF, unit length, over words and pairs found twice."""
    texts = []
    for text in shop.texts:
        single = re.findall(r"\b\w\w+\b", text.lower())
        texts.append(single + [" ".join(pair) for pair in pairwise(single)])
    frequency: dict[str, int] = {}
    for terms in texts:
        for term in set(terms):
            frequency[term] = frequency.get(term, 0) + 1

    def vector(terms):
        found = {
            term: (1 + math.log(terms.count(term)))
            * (math.log((1 + len(texts)) / (1 + frequency[term])) + 1)
            for term in set(terms)
            if frequency[term] >= 2
        }
        length = math.sqrt(sum(value**2 for value in found.values()))
        return {term: value / length for term, value in found.items()}

    vectors = [vector(terms) for terms in texts]

    def cosine(one, other):
        return sum(value * vectors[other].get(term, 0) for term, value in vectors[one].items())

    [reference] = [r for r in REFERENCES if r.name == "TF-IDF kNN"]
    scores = rank(reference, shop, like)
    for row in (0, 5, len(shop.tested) - 1):
        had = shop.purchases[shop.tested[row]].indices
        expected = [sum(cosine(i, new) ** 3 for i in had) for new in shop.candidates]
        np.testing.assert_allclose(scores[row], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reference", RANKING, ids=lambda r: r.name)
def test_every_method_ranks_all_new_items_for_all_users(shop, like, reference):
    if reference.library and importlib.util.find_spec(reference.library) is None:
        pytest.skip(f"{reference.library} is not installed")
    scores = rank(reference, shop, like)
    assert scores.shape == shop.wanted.shape and np.isfinite(scores).all()
    if "popularity" in reference.name:
        assert (scores == scores[0]).all()
    else:
        # Users like one kind each, and titles name the kind.
        recall, _ = ranking_quality(scores, shop.wanted, 3)
        chance = 3 / len(shop.candidates)
        assert recall.mean() > 1.5 * chance


def test_rating_methods_are_better_the_more_they_know(shop, like):
    constant, predicted = (rate(reference, shop, like) for reference in RATING)
    assert set(constant) == {shop.train.rating.mean()}
    assert ((predicted >= 0) & (predicted <= 1)).all() and len(predicted) == len(shop.test.user)


def test_a_measurement_counts_the_time_of_what_it_needs(shop, like):
    for reference in (RANKING[1], REFERENCES[-1]):
        score = measure(reference, shop, like)
        assert 0.5 * len(reference.needs) <= score.seconds
    assert score.recall is None and score.error is not None
    assert score.error.shape == shop.tested.shape
    errors = (rate(REFERENCES[-1], shop, like) - shop.test.rating) ** 2
    assert score.error.sum() == pytest.approx(errors.sum())
    first = shop.test.user == shop.tested[0]
    assert score.error[0] == pytest.approx(errors[first].sum())
    assert AT == 20
