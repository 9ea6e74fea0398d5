import numpy as np
import pytest
import tensorflow as tf

from models.encoders import pretraining
from models.encoders.encoder import TextEncoder
from models.encoders.pretraining import MaskedWords, mask_words, pretrain
from models.options import PretrainingOptions
from tests.tiny_bert import LAYERS

OPTIONS = PretrainingOptions(steps=40, batch_items=16, masked_share=0.3, learning_rate=0.01)
TEXTS = ["vintage red tea cup", "vintage garden light", "retro party bag", "small alarm clock"] * 4


def masked(bert, tokens, share=0.3, seed=0):
    return mask_words(tokens, bert, share, np.random.default_rng(seed))


def test_masked_words_are_those_that_are_asked_for(bert, tokens):
    many = np.tile(tokens, (300, 1))
    read, wanted = masked(bert, many)
    asked = wanted != -1
    ordinary = ~np.isin(many, [bert.pad_id, bert.cls_id, bert.sep_id])
    assert not (asked & ~ordinary).any()
    np.testing.assert_array_equal(wanted[asked], many[asked])
    np.testing.assert_array_equal(read[~asked], many[~asked])
    assert asked.sum() / ordinary.sum() == pytest.approx(0.3, abs=0.02)
    hidden = read[asked] == bert.mask_id
    same = read[asked] == many[asked]
    assert hidden.mean() == pytest.approx(0.8, abs=0.02)
    assert same.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(read == bert.pad_id, many == bert.pad_id)


def test_the_loss_is_the_surprise_at_the_masked_words(bert, tokens):
    model = MaskedWords(TextEncoder(bert))
    read, wanted = masked(bert, tokens)
    states, _ = model._encoder.states(tf.constant(read))
    logits = model._head(states).numpy()
    expected = []
    for row, place in zip(*np.nonzero(wanted != -1), strict=True):
        scores = logits[row, place]
        expected.append(np.log(np.exp(scores).sum()) - scores[wanted[row, place]])
    found = float(model.loss_of(tf.constant(read), tf.constant(wanted)))
    assert found == pytest.approx(np.mean(expected), rel=1e-4)
    nothing = tf.fill(wanted.shape, -1)
    assert float(model.loss_of(tf.constant(read), nothing)) == 0.0


@pytest.mark.parametrize(
    ("trainable_layers", "adaptation"), [(1, "full"), (-1, "full"), (LAYERS, "lora")]
)
def test_only_the_unfrozen_weights_and_the_head_are_trained(bert, trainable_layers, adaptation):
    encoder = TextEncoder(
        bert, trainable_layers=trainable_layers, adaptation=adaptation, adaptation_size=2
    )  # fmt: skip
    found = [id(variable) for variable in MaskedWords(encoder).trainable_variables]
    own = [id(variable) for variable in encoder.trainable_variables]
    # A dense layer, a layer norm and the bias; the word vectors stand for the rest.
    assert found[: len(own)] == own and len(found) == len(own) + 5
    assert len(set(found)) == len(found)


def test_pre_training_learns_the_words_of_the_catalogue(bert, tokens, monkeypatch):
    made = []

    class Watched(MaskedWords):
        def __init__(self, encoder):
            super().__init__(encoder)
            made.append(self)

    monkeypatch.setattr(pretraining, "MaskedWords", Watched)
    tf.random.set_seed(0)
    encoder = TextEncoder(bert, trainable_layers=-1)
    start = [variable.numpy() for variable in encoder.trainable_variables]
    read, wanted = map(tf.constant, masked(bert, np.tile(tokens, (5, 1)), seed=9))
    before = float(MaskedWords(encoder).loss_of(read, wanted))
    pretrain(encoder, bert, tokens, options=OPTIONS, seed=1)
    assert float(made[0].loss_of(read, wanted)) < before - 1.0
    for variable, value in zip(encoder.trainable_variables, start, strict=True):
        assert np.abs(variable.numpy() - value).max() > 0, variable.name


def test_no_steps_leave_the_encoder_as_it_was(bert, tokens):
    encoder = TextEncoder(bert, trainable_layers=-1)
    options = OPTIONS.model_copy(update={"steps": 0})
    pretrain(encoder, bert, tokens, options=options, seed=1)
    np.testing.assert_array_equal(encoder(tokens), TextEncoder(bert)(tokens))
