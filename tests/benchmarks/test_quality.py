"""The command: it asks the server for the split's users, and prints one table with everybody."""

import contextlib
import functools
import importlib.util
import re
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import quality as module
from benchmarks.cli import benchmarks
from benchmarks.cold_split import make_split, read_split
from benchmarks.quality import ask_ranking, ask_ratings
from benchmarks.references import REFERENCES, likeness
from models.errors import DebutError
from serving.answers import Ranking, Scores
from tests.benchmarks.shop import ITEMS, write_shop
from tests.tiny_bert import write_tiny_bert


class _Server:
    """Answers with what a user really wants first, then with the other new items by their id."""

    def __init__(self, shop, *, shorter_by=0):
        self.shop, self.shorter_by, self.asked = shop, shorter_by, []

    def recommend(self, users, *, k, new_only):
        assert new_only
        self.asked += users
        return [Ranking(self._items(user)[: k - self.shorter_by], [], 1) for user in users]

    def score(self, users, items):
        pairs = zip(users, items, strict=True)
        return Scores([(int(u[1:]) % 4 + int(i[1:]) % 2) / 4 for u, i in pairs], [], 1)

    def _items(self, user):
        shop = self.shop
        row = list(shop.tested).index(shop.user_ids.index(user))
        columns = np.argsort(-shop.wanted[row], kind="stable")
        new = [shop.item_ids[shop.candidates[column]] for column in columns]
        never_bought = set(np.flatnonzero(shop.purchases.getnnz(axis=0) == 0))
        return [shop.item_ids[row] for row in never_bought - set(shop.candidates)] + new


def server(shop, *, shorter_by=0) -> Any:
    """As far as it is asked, a client."""
    return _Server(shop, shorter_by=shorter_by)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    make_split(write_shop(folder / "data"), folder / "split", seed=7)
    # A product that nobody has bought and that the test does not hide is new to the server as well.
    with (folder / "split" / "train" / "items.csv").open("a") as items:
        items.write(f"i{ITEMS},mug never sold,home,,a mug,1\n")
    return folder / "split"


@pytest.fixture(scope="module")
def shop(split):
    return read_split(split)


def test_the_servers_lists_become_scores_in_their_order(shop):
    client = server(shop)
    scores = ask_ranking(client, shop)
    assert client.asked == [shop.user_ids[row] for row in shop.tested]
    for own, wanted in zip(scores, shop.wanted, strict=True):
        order = np.argsort(-own, kind="stable")
        np.testing.assert_array_equal(order, np.argsort(-wanted, kind="stable"))
    # What stands behind the 20th place is on no list.
    assert (np.isfinite(scores).sum(axis=1) == min(20, len(shop.candidates))).all()


def test_a_list_that_is_too_short_is_no_answer(shop):
    with pytest.raises(DebutError, match="new items only"):
        ask_ranking(server(shop, shorter_by=1), shop)


def test_ratings_are_asked_for_the_hidden_interactions(shop):
    expected = [
        (int(shop.user_ids[u][1:]) % 4 + int(shop.item_ids[i][1:]) % 2) / 4
        for u, i, _ in zip(*shop.test, strict=True)
    ]
    np.testing.assert_array_equal(ask_ratings(server(shop), shop), expected)


def test_one_table_holds_every_method_with_intervals(split, shop, tmp_path, monkeypatch):
    (root := tmp_path / "root").mkdir()
    served = []

    @contextlib.contextmanager
    def serving(folder):
        served.append(folder)
        yield server(shop)

    monkeypatch.setattr(module, "serving", serving)
    tiny = str(write_tiny_bert(tmp_path / "bert"))
    monkeypatch.setattr(module, "likeness", functools.partial(likeness, encoder=tiny))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lightfm" else name
    )
    result = CliRunner().invoke(
        benchmarks, ["quality", "--split", str(split), "--root", str(root), "--debug"]
    )
    assert result.exit_code == 0, result.output
    assert served == [root]
    assert not [r.name for r in REFERENCES if r.name not in result.output], result.output
    lines = {
        reference.name: next(line for line in result.output.splitlines() if reference.name in line)
        for reference in REFERENCES
    }
    assert "not installed" in lines["LightFM, words"] and "module lightfm" in result.output
    assert len(re.findall(r"0\.\d{3} ± 0\.\d{3}", lines["TF-IDF kNN"])) >= 2
    [debut] = [line for line in result.output.splitlines() if line.strip().startswith("Debut")]
    # Recall and NDCG of a server that knows what is wanted, and no spread.
    assert debut.count(" 1.000 ± 0.000") == 2
    errors = (ask_ratings(server(shop), shop) - shop.test.rating) ** 2
    assert f"{errors.mean():.4f} ± " in debut


def test_a_root_without_its_split_is_refused(tmp_path):
    result = CliRunner().invoke(benchmarks, ["quality", "--root", str(tmp_path)])
    assert result.exit_code == 2 and "--split" in result.output


def test_a_folder_that_exists_is_not_written_into(tmp_path):
    (tmp_path / "kept.txt").touch()
    result = CliRunner().invoke(benchmarks, ["quality", "--keep", str(tmp_path)])
    assert result.exit_code == 2 and f"{tmp_path} exists" in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]
