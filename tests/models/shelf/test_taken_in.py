"""An interaction counts once, however often it comes."""

import numpy as np
import tensorflow as tf

from components.catalogue.update import Change, DataTerms, update
from components.ingestion.summary import RatingScale
from models.shelf.pushed_columns import checkpoint_of
from models.shelf.taken_in import NOTHING, FirstInteraction, TakenIn
from pipeline.config import load_configuration
from tests.models.shop import user_id

TERMS = DataTerms(load_configuration().data.options(), RatingScale(0.0, 1.0, is_implicit=False))
ANN, LATER = FirstInteraction("egg", "ann", 10, 0.5), FirstInteraction("egg", "ann", 20, 0.5)
BEN, BUN = FirstInteraction("egg", "ben", 10, 0.5), FirstInteraction("bun", "ann", 10, 0.5)


def test_the_same_user_item_and_second_are_one_interaction_with_the_highest_rating():
    given = [ANN, LATER, BEN, ANN._replace(rating=0.75), BUN, ANN._replace(rating=0.25)]
    expected = [ANN._replace(rating=0.75), LATER, BEN, BUN]
    assert sorted(NOTHING.fresh(given)) == sorted(expected)


def test_what_was_taken_in_is_known_from_the_file_beside_the_model(tmp_path):
    (tmp_path / "assets.extra").mkdir()
    assert TakenIn.load(tmp_path).fresh([ANN]) == [ANN]
    NOTHING.with_more([ANN, BEN]).save(tmp_path)
    kept = TakenIn.load(tmp_path)
    assert kept.fresh([BEN, LATER, ANN._replace(rating=1.0), BUN]) == [LATER, BUN]
    more = kept.with_more([LATER])
    assert more.fresh([ANN, LATER, BEN]) == []
    assert sorted(more.latest().values()) == [10, 20]


def test_the_same_file_again_leaves_every_column_as_it_is(served, tmp_path):
    new = [served.table.ids[row].decode() for row in np.flatnonzero(served.table.is_new)[:2]]
    known = served.table.ids[int(np.flatnonzero(~served.table.is_new)[0])].decode()
    user, file = user_id(3).decode(), tmp_path / "today.csv"
    lines = [f"{user},{new[0]},900,0.5", f"guest,{new[0]},950,1", f"guest,{new[1]},950,1",
             f"{user},{known},960,1"]  # fmt: skip
    file.write_text("\n".join(["user_id,item_id,timestamp,rating", *lines]))
    once, _ = update(served.path, Change(interactions=file), TERMS, candidate=tmp_path / "1")
    assert (once.interactions, once.repeated, once.adapted) == (4, 0, 2)
    # As after a push that was killed before the labels.
    file.write_text("\n".join([file.read_text(), f"guest2,{new[1]},990,1"]))
    more, _ = update(tmp_path / "1", Change(interactions=file), TERMS, candidate=tmp_path / "2")
    assert (more.interactions, more.repeated, more.adapted) == (1, 4, 1)
    again, _ = update(tmp_path / "2", Change(interactions=file), TERMS, candidate=tmp_path / "3")
    assert (again.interactions, again.repeated, again.adapted, again.purchases) == (0, 5, 0, 0)
    before, after = (
        tf.train.load_checkpoint(checkpoint_of(tmp_path / version)) for version in ("2", "3")
    )
    for name in before.get_variable_to_shape_map():
        np.testing.assert_array_equal(after.get_tensor(name), before.get_tensor(name), name)
    assert TakenIn.load(tmp_path / "3").time.tolist() == TakenIn.load(tmp_path / "2").time.tolist()
