"""`encoder.name: scratch` becomes a folder under the root, made once of the texts."""

import csv

import pytest

from components.ingestion.folder import open_folder
from models.encoders.folder import open_encoder
from models.errors import BadInput
from pipeline import scratch
from pipeline.config import load_configuration
from pipeline.kubeflow.compiling import compile_pipeline
from pipeline.runner import define_pipeline
from pipeline.scratch import with_own_encoder

SETTINGS = [
    "encoder.name=scratch", "scratch.layers=1", "scratch.hidden_size=64",
    "scratch.vocabulary_size=100", "scratch.steps=0",
]  # fmt: skip
ITEMS = [
    ("item_id", "title", "category", "colour"),
    ("1", "红茶杯", "杯子", "红"),
    ("2", "чайник", "", "синий"),
    ("3", "a \x07 ҉bell", "", ""),  # set aside by ingestion
]


def write(folder, items=ITEMS, interactions=("u,1,100",)):
    folder.mkdir(exist_ok=True)
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(items)
    rows = "\n".join(["user_id,item_id,timestamp", *interactions])
    (folder / "interactions.csv").write_text(rows)
    (folder / "users.csv").write_text("user_id,job\nu,学生\n", encoding="utf-8")
    return open_folder(folder)


@pytest.fixture
def made(tmp_path):
    """Names the encoder's folder for a data folder."""
    config = load_configuration(None, SETTINGS)

    def make(data, settings=()):
        changed = load_configuration(None, [*SETTINGS, *settings]) if settings else config
        return with_own_encoder(changed, data, tmp_path / "root").encoder.name

    return make


def test_its_vocabulary_is_of_products_and_users_and_not_of_rows_that_are_set_aside(made, tmp_path):
    folder = open_encoder(made(write(tmp_path / "shop")))
    pieces = set(folder.vocabulary_file.read_text(encoding="utf-8").split("\n"))
    assert set("红茶杯子学生ч") <= pieces
    assert not {"b", "҉"} & pieces
    assert folder.path.parent == (tmp_path / "root" / "encoders").resolve()


def test_it_is_made_again_for_other_texts_or_options_only(made, tmp_path):
    first = made(write(tmp_path / "shop"))
    weights = open_encoder(first).weights_file
    before = weights.stat().st_mtime_ns
    assert made(write(tmp_path / "shop", interactions=["u,1,100", "u,2,200"])) == first
    assert weights.stat().st_mtime_ns == before
    assert made(write(tmp_path / "shop", [*ITEMS, ("4", "白茶杯", "", "")])) != first
    assert made(write(tmp_path / "shop"), ["scratch.hidden_size=128"]) != first
    assert not list((tmp_path / "root" / "encoders").glob(".*"))


def test_what_a_killed_run_left_half_trained_goes_with_the_next(made, tmp_path):
    left = tmp_path / "root" / "encoders" / ".incoming-1-2"
    left.mkdir(parents=True)
    made(write(tmp_path / "shop"))
    assert not left.exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("data.pseudonym_key=NOT_SET", "variable NOT_SET, which is not set"),
        (
            "gates.model=[{metric: recal, slice: new, direction: higher, bound: 0, tolerance: 0}]",
            "gates.model names recal",
        ),
        ("rules.file=nowhere.yaml", "nowhere.yaml can't be read"),
        ("encoder.trainable_layers=2", "trainable_layers is 2; this encoder has 1 layers"),
    ],
)
def test_it_is_trained_last_of_all_that_may_be_refused(tmp_path, monkeypatch, setting, says):
    monkeypatch.setattr(scratch, "train_encoder", lambda *_, **__: pytest.fail("It was trained."))
    write(tmp_path / "shop")
    config = load_configuration(None, [*SETTINGS, setting], data=tmp_path / "shop")
    with pytest.raises(BadInput, match=says):
        define_pipeline(config, tmp_path / "root")


def test_another_encoder_is_left_alone(tmp_path):
    config = load_configuration(None, [])
    assert with_own_encoder(config, write(tmp_path / "shop"), tmp_path) is config


def test_a_compiled_pipeline_cannot_train_one_and_says_what_to_do():
    with pytest.raises(BadInput, match="encoders/"):
        compile_pipeline(load_configuration(None, SETTINGS), "kubeflow")
