import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from models.ranking import ranking_quality


@pytest.mark.parametrize("k", [1, 5, 30, 100])
def test_recall_and_ndcg_agree_with_independent_ones(k):
    random = np.random.default_rng(0)
    logits = random.normal(size=(50, 30)).astype(np.float32)
    wanted = (random.random((50, 30)) < 0.2).astype(np.float32)
    wanted[:, 3] = 1.0
    recall, ndcg = ranking_quality(logits, wanted, k)
    for row in range(50):
        listed = np.argsort(-logits[row])[:k]
        possible = min(len(listed), int(wanted[row].sum()))
        assert recall[row] == pytest.approx(wanted[row, listed].sum() / possible)
        assert ndcg[row] == pytest.approx(
            ndcg_score(wanted[row : row + 1], logits[row : row + 1], k=k)
        )


def test_a_perfect_list_is_1_and_a_list_without_a_hit_0():
    wanted = np.array([[1.0, 1.0, 0.0, 0.0]] * 2)
    recall, ndcg = ranking_quality(np.array([[4.0, 3, 2, 1], [1.0, 2, 3, 4]]), wanted, 2)
    assert recall.tolist() == [1.0, 0.0]
    assert ndcg.tolist() == [1.0, 0.0]


def test_equal_logits_are_no_better_than_chance():
    random = np.random.default_rng(1)
    wanted = np.zeros((4000, 50), np.float32)
    wanted[np.arange(4000), random.integers(0, 50, 4000)] = 1.0
    recall, _ = ranking_quality(np.zeros((4000, 50), np.float32), wanted, 10)
    assert recall.mean() == pytest.approx(0.2, abs=0.02)
