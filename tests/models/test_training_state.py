"""What a training leaves for the next one: read back as it was, and refused where it can't fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.encoded import Encoders, tunable
from models.few_shot.evidence import FEATURES
from models.few_shot.weights import EvidenceWeights
from models.inheritance.kernel import KernelSettings
from models.options import EncoderOptions
from models.trainer import find_base
from models.training_state import Facts, TrainingState, assign
from pipeline.config import load_configuration
from pipeline.pipeline import training_options

FACTS = Facts(
    architecture='{"model": 1}', implicit=True, splits={"split_salt": "one", "new_item_share": 0.1}
)
RANDOM = np.random.default_rng(0)


def some(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def state(encoder=()):
    width = len(FEATURES)
    evidence = EvidenceWeights(
        some(2), some(2, width), some(2, width), some(2, width), some(2), some(2), some(2)
    )
    return TrainingState(
        facts=FACTS,
        kernel=KernelSettings(ridge=0.25, order=2.0, side=0.0),
        evidence=evidence,
        tokens=np.arange(12, dtype=np.int32).reshape(4, 3),
        text=some(4, 5),
        # More than ten, so that their order is not that of their names by chance.
        towers=[some(), *(some(place, 2) for place in range(1, 13))],
        encoder=encoder,
    )


@pytest.mark.parametrize("encoder", [[], [some(3), some(2, 2)]])
def test_all_of_it_is_read_back(tmp_path, encoder):
    written = state(encoder)
    written.write(tmp_path / "served")
    read = TrainingState.read(tmp_path / "served")
    assert read is not None
    assert (read.facts, read.kernel) == (FACTS, written.kernel)
    for name, column in vars(written.evidence).items():
        np.testing.assert_array_equal(getattr(read.evidence, name), column)
    np.testing.assert_array_equal(read.text, written.text)
    for own, other in ((read.towers, written.towers), (read.encoder, written.encoder)):
        assert len(own) == len(other)
        for one, same in zip(own, other, strict=True):
            np.testing.assert_array_equal(one, same)


def test_texts_are_known_again_by_their_tokens_alone():
    kept = state()
    # Another order, one that is new, and one twice.
    tokens = np.array([[9, 10, 11], [0, 1, 3], [3, 4, 5], [9, 10, 11]], np.int32)
    rows, theirs = kept.known_texts(tokens)
    assert (rows.tolist(), theirs.tolist()) == ([0, 2, 3], [3, 1, 3])


def test_variables_take_over_values_of_the_same_shape_only():
    variables = [tf.Variable(tf.zeros([2])), tf.Variable(0.0)]
    assign(variables, [np.array([1, 2], np.float32), np.array(3, np.float32)])
    assert variables[0].numpy().tolist() == [1, 2] and variables[1].numpy() == 3
    with pytest.raises(ValueError, match="shape"):
        assign(variables, [np.zeros(3, np.float32), np.array(3, np.float32)])


def test_training_starts_warm_where_the_base_fits(tmp_path):
    state().write(tmp_path / "served")
    base, start = find_base(str(tmp_path / "served"), FACTS)
    assert start == "warm"
    assert base is not None


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (FACTS.model_copy(update={"implicit": False}), "other kind of feedback"),
        (FACTS.model_copy(update={"architecture": "{}"}), "other options of encoder"),
        (
            FACTS.model_copy(update={"splits": {"split_salt": "two", "new_item_share": 0.1}}),
            "held out now",
        ),
    ],
)
def test_training_starts_fresh_where_the_base_does_not_fit(tmp_path, facts, said):
    state().write(tmp_path / "served")
    base, start = find_base(str(tmp_path / "served"), facts)
    assert base is None
    assert start.startswith("fresh: ") and said in start


def test_whatever_decides_the_architecture_is_named_where_it_keeps_a_training_from_going_on(
    tmp_path,
):
    options = training_options(load_configuration(), encoder_fingerprint="one")
    deciding = json.loads(options.architecture)
    assert deciding.pop("encoder_fingerprint") == "one"
    state().write(tmp_path / "served")
    _, start = find_base(
        str(tmp_path / "served"), FACTS.model_copy(update={"architecture": "another"})
    )
    assert "another encoder" in start
    assert all(section in start for section in deciding), (start, list(deciding))


def test_what_is_held_out_is_a_fact_of_the_configuration():
    def splits(*settings):
        return training_options(load_configuration(settings=settings)).splits

    assert splits() == splits("data.max_text_length=500")
    for setting in (
        "split_salt=other", "new_item_share=0.3", "eval_user_share=0.3", "eval_tail_share=0.3",
    ):  # fmt: skip
        assert splits() != splits(f"data.{setting}"), setting


def test_training_starts_fresh_without_a_base_or_from_one_of_an_older_debut(tmp_path):
    assert find_base(None, FACTS) == (None, "fresh")
    Path(tmp_path / "served").mkdir()
    base, start = find_base(str(tmp_path / "served"), FACTS)
    assert base is None
    assert "before Debut kept" in start


@pytest.mark.parametrize("adaptation", ["full", "lora", "prefix"])
def test_a_fine_tuned_encoder_reads_on_as_it_did(bert, adaptation):
    options = EncoderOptions(
        name=str(bert.path), shared=True, trainable_layers=-1, adaptation=adaptation,
        adaptation_size=2,
    )  # fmt: skip
    tuned = tunable(bert, options)
    for variable in tuned.trainable_variables:
        variable.assign_add(RANDOM.normal(scale=0.3, size=variable.shape))
    weights = [variable.numpy() for variable in tuned.variables]
    again = Encoders.load(options, weights)
    tokens = tf.constant(RANDOM.integers(5, 60, (3, 6)), tf.int32)
    expected = tuned.infer(tokens).numpy()
    np.testing.assert_allclose(again.item.infer(tokens).numpy(), expected, atol=1e-6)
    assert again.profile is again.item
    untouched = Encoders.load(options).item.infer(tokens).numpy()
    assert np.abs(untouched - expected).max() > 0.01
