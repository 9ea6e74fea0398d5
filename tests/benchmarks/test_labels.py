"""The curve of labels: both sides meet where everything is labelled."""

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.labels import SHARES, Asking, labels_needed
from models.inheritance.kernel import NO_BRAND, ItemView, KernelSettings

ITEMS, USERS = 120, 90


def test_the_share_of_labels_is_read_off_the_plan_s_curve():
    random = [0.2 + 0.1 * share for share in SHARES]
    some = len(SHARES) - 1
    assert labels_needed(random, random)[1:] == pytest.approx([1.0] * some)
    twice = [0.2 + 0.2 * share for share in SHARES]
    none, *needed = labels_needed(random, twice)
    assert np.isnan(none)
    assert needed == pytest.approx([0.5] * some)
    assert np.isnan(labels_needed([9.0] * len(SHARES), twice)).all()


@pytest.fixture(scope="module")
def asking():
    random = np.random.default_rng(3)
    theme = np.arange(ITEMS) % 4
    text = np.eye(4)[theme] + 0.3 * random.random((ITEMS, 4))
    text = (text / np.linalg.norm(text, axis=1, keepdims=True)).astype(np.float32)
    likes = random.random((USERS, ITEMS)) < np.where(
        theme == (np.arange(USERS) % 4)[:, np.newaxis], 0.4, 0.05
    )
    view = ItemView(
        text=text, terms=sp.csr_matrix(text), place=np.zeros(ITEMS, np.float32),
        price=np.full(ITEMS, np.nan, np.float32), brand=np.full(ITEMS, NO_BRAND),
    )  # fmt: skip
    return Asking(
        purchases=sp.csr_matrix(likes.astype(np.float32)), space=text, view=view,
        kernel=KernelSettings(0.5, 0.0, 0.0), regularization=5.0, pool=np.arange(40),
        asked=np.arange(40, ITEMS), users=np.flatnonzero(likes[:, 40:].any(axis=1)),
    )  # fmt: skip


def test_once_everything_is_labelled_it_does_not_matter_in_which_order(asking, monkeypatch):
    monkeypatch.setattr("benchmarks.labels.SHARES", (0.1, 0.8))
    few, every = asking.compare(0.2, np.random.default_rng(0))
    assert every[0] == pytest.approx(every[1])
    assert every[0] > max(few)
    assert every[0] == pytest.approx(asking.recall(asking.pool))
