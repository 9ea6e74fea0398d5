"""Which columns of a pushed version make a product one to label, or one that is labelled."""

import json

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from models.errors import BadInput
from models.interactions import PAD
from models.rules import Rules
from pipeline.cli import main
from pipeline.labelling import read_label_plan
from pipeline.layout import serving_folder

# Two of a kind, then two of another, and one that is sold already.
EMBEDDING = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0.6, 0.8]], np.float32)
IDS = [b"a", b"b", b"c", b"d", b"sold"]


def push(root, *, heard=(), available=(True,) * 5, allowed=None, names=IDS):
    """A version with the columns of a shelf, in whose evidence some rows are."""
    of = np.full(len(IDS), PAD, np.int32)
    of[list(heard)] = np.arange(len(heard))
    shelf, served, evidence = tf.Module(), tf.Module(), tf.Module()
    shelf.item_id, shelf.item_name = tf.Variable(IDS), tf.Variable(names)
    shelf.embedding = tf.Variable(EMBEDDING)
    shelf.is_new = tf.Variable([True, True, True, True, False])
    shelf.available = tf.Variable(list(available))
    served.log_popularity = tf.Variable(np.zeros(len(IDS), np.float32))
    evidence.of = tf.Variable(of)
    shelf.served, shelf.evidence = served, evidence
    version = serving_folder(root) / "1"
    version.mkdir(parents=True)
    if allowed is not None:
        shelf.rules = tf.Module()
        shelf.rules.allowed = tf.Variable(list(allowed))
        Rules(new_share=0.1).save(version)
    tf.train.Checkpoint(_shelf=shelf).write(str(version / "variables" / "variables"))


def planned(root):
    return [wanted.item_id for wanted in read_label_plan(root, 10)]


def test_every_new_product_without_interactions_is_planned(tmp_path):
    push(tmp_path)
    assert sorted(planned(tmp_path)) == ["a", "b", "c", "d"]


def test_a_product_whose_interactions_were_taken_in_is_labelled(tmp_path):
    push(tmp_path, heard=[2])
    plan = planned(tmp_path)
    assert sorted(plan) == ["a", "b", "d"]
    # Of the one like it less is unknown now.
    assert plan[-1] == "d"


def test_a_product_that_is_not_recommended_is_neither(tmp_path):
    push(tmp_path, available=(True, False, True, True, True))
    assert sorted(planned(tmp_path)) == ["a", "c", "d"]


def test_a_product_that_the_rules_shut_out_is_neither(tmp_path):
    push(tmp_path, allowed=(True, True, True, False, True))
    assert sorted(planned(tmp_path)) == ["a", "b", "c"]


def test_without_such_a_product_the_remedy_is_named(tmp_path):
    push(tmp_path, heard=[0, 1, 2, 3])
    with pytest.raises(BadInput, match=r"no new product without interactions.*debut items add"):
        read_label_plan(tmp_path, 10)


def test_json_shows_titles_as_they_were_given(tmp_path):
    push(tmp_path, names=["茶杯 . 無印".encode()] * len(IDS))
    shown = CliRunner().invoke(main, ["label-plan", "--root", str(tmp_path), "--json"]).stdout
    assert '"title": "茶杯 . 無印"' in shown
    assert len(json.loads(shown)) == 4
