"""An encoder that is too small for the configuration is refused before anything runs."""

import json

import pytest

from models.encoders.depth import check_length
from models.errors import BadInput
from pipeline.config import load_configuration
from pipeline.kubeflow.compiling import compile_pipeline
from pipeline.runner import define_pipeline
from tests.tiny_bert import write_tiny_bert

SAYS = "features.max_tokens is 33; this encoder reads 32 word pieces"


@pytest.fixture
def config(tmp_path):
    folder = write_tiny_bert(tmp_path / "tiny")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": 32}))
    return load_configuration(None, [f"encoder.name={folder}", "features.max_tokens=33"])


def test_a_run_does_not_begin(config, tmp_path):
    with pytest.raises(BadInput, match=SAYS):
        define_pipeline(config, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_nothing_is_compiled(config):
    with pytest.raises(BadInput, match=SAYS):
        compile_pipeline(config, "kubeflow")


def test_as_many_word_pieces_as_there_are_positions_will_do():
    check_length(32, 32)
