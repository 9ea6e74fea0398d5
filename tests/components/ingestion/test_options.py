import pytest
from pydantic import ValidationError

from components.ingestion.options import DataOptions, read_pseudonym_key
from models.errors import BadInput
from tests.components.ingestion.helpers import data_options, default_data_section


def test_options_are_those_of_the_configuration_file_without_the_path():
    assert set(DataOptions.model_fields) == set(default_data_section()) - {"path"}


def test_every_option_is_documented_and_has_no_default():
    for field in DataOptions.model_fields.values():
        assert field.description and field.is_required()


def test_options_survive_json():
    options = data_options(rating_min=1, rating_max=5)
    assert DataOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    "wrong",
    [
        {"rating_min": 5, "rating_max": 5},
        {"rating_min": float("nan")},
        {"rating_max": float("inf")},
        {"history_length": 0},
        {"max_text_length": 0},
        {"max_quarantined_share": 1.5},
        {"pseudonym_key": "NOT A NAME"},
        {"new_item_share": 1.0},
        {"new_item_share": -0.1},
        {"eval_user_share": 1.1},
        {"eval_tail_share": 0.0},
        {"eval_tail_share": 1.0},
        {"unheard_of": 1},
    ],
)
def test_value_out_of_range_is_refused(wrong):
    with pytest.raises(ValidationError):
        data_options(**wrong)


def test_options_are_frozen():
    with pytest.raises(ValidationError):
        data_options().__setattr__("history_length", 3)


def test_pseudonym_key_is_read_from_the_named_variable(monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    assert read_pseudonym_key(data_options(pseudonym_key="SHOP_KEY")) == b"s3cret"
    assert read_pseudonym_key(data_options(pseudonym_key=None)) is None


@pytest.mark.parametrize("value", [None, ""])
def test_missing_pseudonym_key_is_bad_input_that_names_the_variable(monkeypatch, value):
    monkeypatch.delenv("SHOP_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SHOP_KEY", value)
    with pytest.raises(BadInput, match="SHOP_KEY"):
        read_pseudonym_key(data_options(pseudonym_key="SHOP_KEY"))
