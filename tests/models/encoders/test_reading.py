import numpy as np
import tensorflow as tf

from models.encoders.encoder import TextEncoder
from models.encoders.folder import open_encoder
from models.encoders.reading import encode_profiles
from models.encoders.tokenizer import WordPieceTokenizer
from models.interactions import Users
from tests.tiny_bert import HIDDEN, write_tiny_bert

LENGTH = 16


def test_each_profile_is_read_once_and_an_empty_one_is_nothing(tmp_path):
    write_tiny_bert(tmp_path / "bert")
    folder = open_encoder(str(tmp_path / "bert"))
    encoder, tokenizer = TextEncoder(folder), WordPieceTokenizer(folder)
    said = [b"", b"likes tea", b"", b"gardener", b"likes tea"]
    users = Users(np.arange(len(said)).astype(object), np.array(said, object))
    found = encode_profiles(encoder, tokenizer, users, LENGTH)
    assert found.encoded.shape == (3, HIDDEN) and found.of.dtype == np.int32
    tokens = tokenizer.encoder_input(tokenizer.pieces(tf.constant(said)), LENGTH)
    expected = encoder.infer(tf.cast(tokens, tf.int32)).numpy()
    expected[[0, 2]] = 0.0
    np.testing.assert_allclose(found.at(np.arange(len(said))), expected, atol=1e-6)
    np.testing.assert_array_equal(found.at(np.array([4, 1]))[0], found.at(np.array([1]))[0])
