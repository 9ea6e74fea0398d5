"""What the speed of training is computed from: operations by hand, and histories by a loop."""

import numpy as np
import pytest

from benchmarks.cold_split import make_split, read_split
from benchmarks.training import _interactions, debut_step_seconds, encoder_operations
from benchmarks.training import plain_step_seconds as plain
from models.encoders.encoder import TextEncoder
from pipeline.config import load_configuration
from tests.benchmarks.shop import write_shop
from tests.tiny_bert import HIDDEN


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    made = tmp_path_factory.mktemp("shop")
    make_split(write_shop(made / "data"), made / "split", seed=7)
    return read_split(made / "split")


def test_operations_are_those_of_the_products_of_real_tokens(bert):
    encoder = TextEncoder(bert)
    lengths = (5, 3)
    tokens = np.full((2, 8), encoder.pad_id, np.int32)
    expected = 0
    for row, length in enumerate(lengths):
        tokens[row, :length] = 2
        shapes = [  # n x k times k x m
            *[(length, HIDDEN, HIDDEN)] * 4,
            (length, HIDDEN, length),
            (length, length, HIDDEN),
            (length, HIDDEN, encoder.bert.config.intermediate_size),
            (length, encoder.bert.config.intermediate_size, HIDDEN),
        ]
        expected += sum(2 * n * k * m for n, k, m in shapes)
    assert encoder_operations(tokens, encoder) == expected * bert.num_layers


def test_histories_hold_what_stands_before(shop):
    made = _interactions(shop, 4)
    seen: dict[int, list[int]] = {}
    for user, item, history in zip(made.user, made.item, made.history, strict=True):
        before = seen.setdefault(int(user), [])
        assert [row for row in history if row >= 0] == before[-4:]
        before.append(int(item))
    assert len(made) == len(shop.train.user)


def test_both_loops_run_on_a_small_shop(shop, bert):
    text = np.random.default_rng(0).normal(size=(len(shop.item_ids), HIDDEN)).astype(np.float32)
    config = load_configuration(settings=["model.embedding_size=8", "features.lexical_size=16"])
    assert debut_step_seconds(shop, text, config) > 0
    assert plain(shop, bert) > 0
