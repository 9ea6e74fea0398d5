"""Changes without training in a pipeline: what their gate refuses, and what is too old for them."""

import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components.artifacts import Quarantine
from components.catalogue import component as catalogue
from components.catalogue.update import Change, DataTerms
from components.catalogue.update import update as change_items
from components.exploration import component as exploration
from components.exploration.update import update as explore
from components.ingestion.summary import RatingScale
from models.errors import BadInput, Refused
from models.rules import Rules
from models.shelf.admission import FILE
from pipeline.config import load_configuration
from tests.refused_change import refused_change
from tests.serving.saved_models import Shop

CONFIG = load_configuration()
EXPLORE = CONFIG.explore.model_copy(update={"policy": "thompson"})
TERMS = DataTerms(CONFIG.data.options(), RatingScale(1.0, 5.0, False))


@pytest.mark.parametrize(
    ("updater", "properties"),
    [
        (catalogue, {"change": Change().to_json(), "terms": TERMS.to_json()}),
        (exploration, {"log": "", "key": "", "options": EXPLORE.model_dump_json()}),
    ],
    ids=["catalogue", "exploration"],
)
def test_a_component_asks_the_version_that_it_saved_and_fails_where_the_gate_refuses(
    tmp_path, monkeypatch, updater, properties
):
    monkeypatch.setattr(updater, "update", refused_change)
    base, model, rows = standard_artifacts.PushedModel(), standard_artifacts.Model(), Quarantine()
    for artifact, name in ((base, "base"), (model, "model"), (rows, "rows")):
        artifact.uri = str(tmp_path / name)
    executor = updater.Executor(BaseBeamExecutor.Context(tmp_dir=str(tmp_path), unique_id="1"))
    with pytest.raises(Refused) as caught:
        executor.Do({"base": [base]}, {"model": [model], "quarantine": [rows]}, properties)
    assert str(caught.value) == f"It lists {[list(Shop.ITEMS[:2])]}."


def save(folder, **columns):
    """A version whose shelf has an item and these columns, and that has what takes products in."""
    model = tf.Module()
    model._shelf = tf.Module()
    model._shelf.item_id = tf.Variable([b"apple"])
    for name, value in columns.items():
        setattr(model._shelf, name, tf.Variable(value))
    tf.saved_model.save(model, str(folder))
    (folder / FILE).parent.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(b"")
    return folder


def test_a_version_of_before_is_refused_by_what_it_lacks(tmp_path):
    base, new = save(tmp_path / "1"), tmp_path / "2"
    withdrawal = Change(withdrawn=("apple",))
    with pytest.raises(Refused, match=r"before Debut could explore\. Run `debut run` again"):
        explore(base, None, EXPLORE, key=b"", candidate=new)
    with pytest.raises(Refused, match=r"before Debut kept an index of buyers\. Run `debut run`"):
        change_items(base, withdrawal, TERMS, candidate=new)
    with pytest.raises(BadInput, match="made without rules, so there is nothing to refresh"):
        change_items(base, Change(), TERMS, candidate=new)
    (base / FILE).unlink()
    with pytest.raises(Refused, match=r"before Debut could add products to it\. Run `debut run`"):
        change_items(base, withdrawal, TERMS, candidate=new)
    assert not new.exists()


def test_places_are_not_explored_under_rules_that_hold_a_cap(tmp_path):
    base = save(tmp_path / "1", exploration=0.0)
    rules = Rules.model_validate({"cap": {"group": "brand", "most": 2}})
    rules.save(base)
    with pytest.raises(BadInput, match=r"hold a cap.*set explore\.policy to none"):
        explore(base, None, EXPLORE, key=b"", candidate=tmp_path / "2")
    assert not (tmp_path / "2").exists()
