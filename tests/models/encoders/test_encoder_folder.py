import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.encoders import folder as encoder_folder
from models.encoders.folder import PACKAGED, open_encoder
from models.errors import BadInput
from tests.tiny_bert import HIDDEN, LAYERS, vocabulary, write_tiny_bert, write_tiny_bert_h5

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_bert(tmp_path / "tiny")


def refusal(folder):
    with pytest.raises(BadInput) as caught:
        open_encoder(str(folder))
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    return message


def change_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_sound_folder_is_read_with_the_settings_of_its_tokenizer(tiny):
    folder = open_encoder(str(tiny))
    assert folder.path == tiny
    assert (folder.hidden_size, folder.num_layers) == (HIDDEN, LAYERS)
    assert folder.vocabulary_size == len(vocabulary())
    assert (folder.pad_id, folder.cls_id, folder.sep_id) == (0, 2, 3)
    assert folder.weights_file.name == "model.safetensors"


def test_a_folder_may_be_below_the_home_folder(tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny.parent))
    assert open_encoder("~/tiny").path == tiny


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
def test_changed_content_changes_the_fingerprint_and_a_copy_keeps_it(tiny, tmp_path, name):
    before = open_encoder(str(tiny)).fingerprint()
    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert open_encoder(str(copy)).fingerprint() == before
    folder = open_encoder(str(copy))
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")
    assert folder.fingerprint() != before


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (True, True)),  # BERT's defaults
        ({"do_lower_case": False}, (False, False)),
        ({"do_lower_case": True, "strip_accents": False}, (True, False)),
        ({"do_lower_case": False, "strip_accents": True}, (False, True)),
        ({"do_lower_case": False, "strip_accents": None}, (False, False)),
        (None, (True, True)),  # no such file
    ],
)
def test_casing_and_accents_come_from_the_folder(tiny, settings, expected):
    file = tiny / "tokenizer_config.json"
    file.unlink()
    if settings is not None:
        file.write_text(json.dumps(settings))
    folder = open_encoder(str(tiny))
    assert (folder.lower_case, folder.strip_accents) == expected


def test_weights_in_h5_form_will_do(tmp_path):
    folder = open_encoder(str(write_tiny_bert_h5(tmp_path / "h5")))
    assert folder.weights_file.name == "tf_model.h5"


@pytest.mark.parametrize("name", ["config.json", "vocab.txt"])
def test_a_missing_file_is_named(tiny, name):
    (tiny / name).unlink()
    message = refusal(tiny)
    assert str(tiny / name) in message
    assert "missing" in message


def test_missing_weights_are_named_in_both_forms(tiny):
    (tiny / "model.safetensors").unlink()
    message = refusal(tiny)
    assert str(tiny) in message
    assert "model.safetensors" in message
    assert "tf_model.h5" in message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_safetensors_are_damaged_and_to_be_copied_again(tiny, share):
    file = tiny / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    message = refusal(tiny)
    assert str(file) in message
    assert "opy it again" in message


def test_a_truncated_h5_file_is_damaged_and_to_be_copied_again(tmp_path):
    file = write_tiny_bert_h5(tmp_path / "h5") / "tf_model.h5"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    message = refusal(file.parent)
    assert str(file) in message
    assert "opy it again" in message


def test_h5_weights_of_another_width_are_refused(tmp_path):
    path = write_tiny_bert_h5(tmp_path / "h5")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"hidden_size": 2 * HIDDEN}))
    message = refusal(path)
    assert str(path / "tf_model.h5") in message
    assert f"{len(vocabulary())} x {2 * HIDDEN}" in message


def test_a_word_piece_that_stands_twice_is_named_with_its_lines(tiny):
    pieces = vocabulary()
    pieces[300] = pieces[200]
    (tiny / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    message = refusal(tiny)
    assert str(tiny / "vocab.txt") in message
    assert f"{pieces[200]!r} twice, on lines 201 and 301" in message


def test_weights_that_are_a_git_pointer_are_damaged(tiny):
    file = tiny / "model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n")
    assert str(file) in refusal(tiny)


@pytest.mark.parametrize("content", ["", "{", '{"model_type": "bert"'])
def test_a_config_that_is_no_json_is_named(tiny, content):
    (tiny / "config.json").write_text(content)
    message = refusal(tiny)
    assert str(tiny / "config.json") in message
    assert "opy the folder again" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["[]", "null", '"bert"'])
def test_settings_that_are_no_object_are_named(tiny, name, content):
    (tiny / name).write_text(content)
    message = refusal(tiny)
    assert str(tiny / name) in message
    assert "opy the folder again" in message


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "num_hidden_layers"])
@pytest.mark.parametrize("value", [None, "2"])
def test_a_size_that_the_config_lacks_is_named(tiny, key, value):
    file = tiny / "config.json"
    config = json.loads(file.read_text())
    del config[key]
    file.write_text(json.dumps(config if value is None else config | {key: value}))
    message = refusal(tiny)
    assert str(file) in message
    assert key in message


@pytest.mark.parametrize("model_type", ["roberta", "distilbert", None])
def test_a_model_of_another_type_is_refused_by_its_type(tiny, model_type):
    change_json(tiny / "config.json", model_type=model_type)
    message = refusal(tiny)
    assert str(tiny / "config.json") in message
    assert repr(model_type) in message
    assert "BERT" in message


def test_a_vocabulary_that_is_no_text_is_refused(tiny):
    (tiny / "vocab.txt").write_bytes("[PAD]\nÄ".encode("latin-1"))
    message = refusal(tiny)
    assert str(tiny / "vocab.txt") in message
    assert "UTF-8" in message
    assert "opy the folder again" in message


def test_a_vocabulary_of_another_model_is_refused(tiny):
    with (tiny / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("surplus\n")
    message = refusal(tiny)
    assert str(tiny / "vocab.txt") in message
    assert f"{len(vocabulary()) + 1} word pieces" in message


@pytest.mark.parametrize("piece", ["[PAD]", "[CLS]", "[SEP]", "[UNK]"])
def test_a_vocabulary_without_a_special_token_is_refused(tiny, piece):
    file = tiny / "vocab.txt"
    file.write_text(file.read_text(encoding="utf-8").replace(piece, "[other]"), encoding="utf-8")
    message = refusal(tiny)
    assert str(file) in message
    assert piece in message


def test_weights_of_another_width_or_vocabulary_are_refused(tiny):
    file = tiny / "model.safetensors"
    weights = load_file(file)
    name = "embeddings.word_embeddings.weight"
    for other in (weights[name][:, :8], weights[name][:100]):
        save_file(weights | {name: np.ascontiguousarray(other)}, file)
        message = refusal(tiny)
        assert str(file) in message
        assert f"{len(vocabulary())} x {HIDDEN}" in message


def test_weights_that_are_no_bert_are_refused(tiny):
    save_file({"linear.weight": np.zeros((4, 4), np.float32)}, tiny / "model.safetensors")
    assert "word embeddings" in refusal(tiny)


@pytest.mark.parametrize("name", ["no/such/folder/here", "~/bert", "./missing", "bert base"])
def test_a_name_that_is_nothing_says_what_may_be_given(name):
    message = refusal(name)
    assert repr(name) in message
    assert PACKAGED in message


def test_a_hub_name_says_to_give_a_folder_where_the_hub_fails(monkeypatch):
    name = "no-such-organisation/no-such-model"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = refusal(name)
    assert repr(name) in message
    assert "give the folder's path" in message


def test_the_packaged_weights_are_the_upstream_file():
    folder = open_encoder(PACKAGED)
    assert hashlib.sha256(folder.weights_file.read_bytes()).hexdigest() == SHA256
    assert (folder.hidden_size, folder.num_layers, folder.vocabulary_size) == (384, 6, 30_522)
    assert folder.lower_case
    assert folder.strip_accents


def test_damaged_packaged_weights_are_refused_with_both_checksums(monkeypatch, tmp_path):
    package = Path(open_encoder(PACKAGED).path)
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"):
        shutil.copy(package / name, copy / name)
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    monkeypatch.setattr(encoder_folder, "_packaged_folder", lambda: copy)
    message = refusal(PACKAGED)
    assert str(copy / "model.safetensors") in message
    assert SHA256 in message
    damaged = hashlib.sha256((copy / "model.safetensors").read_bytes()).hexdigest()
    assert damaged in message
    assert "einstall" in message


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(encoder_folder, "_PACKAGE", "no_such_package_of_weights")
    message = refusal(PACKAGED)
    assert "--no-deps" in message
    assert "encoder.name" in message
