"""Item-cold splits: what is hidden, what is left, and that nothing of the test is in the train."""

import gzip
import hashlib
import json
import shutil

import numpy as np
import pytest

from benchmarks.cold_split import make_split, new_items, read_split
from models.errors import BadInput
from tests.benchmarks.shop import read, rows, write_shop


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    data = write_shop(tmp_path_factory.mktemp("data"))
    out = tmp_path_factory.mktemp("split") / "7"
    make_split(data, out, seed=7)
    return data, out


def test_a_fifth_of_the_groups_is_drawn_by_the_hash_of_seed_and_group():
    groups = {f"i{i}": f"g{i // 2}" for i in range(1000)}
    drawn = new_items([*groups, "alone"], groups, 11)

    def draw(name):
        return int(hashlib.sha256(f"11:{name}".encode()).hexdigest()[:8], 16) / 2**32

    assert drawn == {i for i, g in (groups | {"alone": "alone"}).items() if draw(g) < 0.2}
    assert 0.15 < len(drawn) / 1000 < 0.25
    assert drawn != new_items(groups, groups, 12)


def test_the_train_split_is_the_data_without_the_hidden_interactions(split):
    data, out = split
    new = set(json.loads((out / "split.json").read_text())["new_items"])
    every, left = read(data / "interactions.csv"), read(out / "train" / "interactions.csv")
    assert [row for row in every if row["item_id"] not in new] == left
    known = {row["user_id"] for row in left}
    hidden = [row for row in every if row["item_id"] in new and row["user_id"] in known]
    assert read(out / "test.csv") == hidden and hidden
    # New products stay in the catalogue, and everything else in the folder.
    assert (out / "train" / "items.csv").read_bytes() == (data / "items.csv").read_bytes()
    assert (out / "train" / "variant_groups.csv").exists()


def test_variants_are_hidden_together(split):
    data, out = split
    new = set(json.loads((out / "split.json").read_text())["new_items"])
    members: dict[str, list[bool]] = {}
    for row in read(data / "variant_groups.csv"):
        members.setdefault(row["group_id"], []).append(row["item_id"] in new)
    assert all(len(set(of)) == 1 for of in members.values())


def test_variants_are_found_where_the_folder_names_none(tmp_path):
    """Two titles that the same users take at the same moments are one product."""
    data = write_shop(tmp_path / "data", groups=False)
    items = read(data / "items.csv")
    twins = {f"i{i:02d}": f"t{i:02d}" for i in range(20)}
    every = read(data / "interactions.csv")
    rows(
        data / "items.csv", items[0],
        [list(r.values()) for r in items]
        + [[twins[r["item_id"]], *list(r.values())[1:]] for r in items if r["item_id"] in twins],
    )  # fmt: skip
    rows(
        data / "interactions.csv", every[0],
        [list(r.values()) for r in every]
        + [
            [r["user_id"], twins[r["item_id"]], r["rating"], r["timestamp"]]
            for r in every if r["item_id"] in twins
        ],
    )  # fmt: skip
    make_split(data, tmp_path / "split", seed=3)
    new = set(json.loads((tmp_path / "split" / "split.json").read_text())["new_items"])
    assert {i for i in twins if i in new} == {i for i, twin in twins.items() if twin in new}
    assert new


def test_rows_stand_for_users_and_items(split):
    _, out = split
    shop = read_split(out)
    test = read(out / "test.csv")
    rated = {(r["user_id"], r["item_id"]): (float(r["rating"]) - 1) / 4 for r in test}
    found = {
        (shop.user_ids[u], shop.item_ids[i]): rating
        for u, i, rating in zip(*shop.test, strict=True)
    }
    assert found == pytest.approx(rated)
    wanted = {
        (shop.user_ids[shop.tested[row]], shop.item_ids[shop.candidates[column]])
        for row, column in zip(*np.nonzero(shop.wanted), strict=True)
    }
    assert wanted == set(rated) and shop.is_explicit
    assert not shop.purchases[:, shop.candidates].nnz
    assert shop.purchases.nnz == len(read(out / "train" / "interactions.csv"))


def test_hidden_purchases_of_an_answer_key_come_back(tmp_path, split):
    data = shutil.copytree(split[0], tmp_path / "data")
    every = read(data / "interactions.csv")
    rows(data / "interactions.csv", every[0], [list(r.values()) for r in every[::2]])
    rows(data / "key.csv", every[0], [list(r.values()) for r in every[1::2]])
    (data / "answer_key.csv.gz").write_bytes(gzip.compress((data / "key.csv").read_bytes()))
    make_split(data, tmp_path / "out", seed=7)
    for name in ("test.csv", "train/interactions.csv"):
        one, other = read(tmp_path / "out" / name), read(split[1] / name)
        assert sorted(map(str, one)) == sorted(map(str, other))


def test_what_is_no_split_is_refused(tmp_path, split):
    with pytest.raises(BadInput, match=r"split\.json"):
        read_split(tmp_path)
    (tmp_path / "data" / "span-1").mkdir(parents=True)
    write_shop(tmp_path / "data" / "span-1")
    with pytest.raises(BadInput, match="spans"):
        make_split(tmp_path / "data", tmp_path / "out", seed=7)
    broken = shutil.copytree(split[1], tmp_path / "broken")
    (broken / "test.csv").write_text("user_id,item_id,rating,timestamp\nnobody,i00,1,1\n")
    with pytest.raises(BadInput, match="no user"):
        read_split(broken)
