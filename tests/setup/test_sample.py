"""The sample shop is the whole data set, cut in two where its new products are."""

import gzip
import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest

from scripts.make_sample import make_sample

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "online_retail"
FILES = ("items", "users", "interactions", "answer_key")


def read(name: str, folder: Path = SAMPLE) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv.gz", dtype=str, keep_default_na=False)


def test_counts_are_those_of_the_source() -> None:
    kept, hidden = read("interactions"), read("answer_key")
    both = pd.concat([kept, hidden])
    assert len(both) == 266_221 == len(both.drop_duplicates(["user_id", "item_id"]))
    assert both.item_id.nunique() == 3_659 == len(read("items"))
    assert both.user_id.nunique() == 4_334 == len(read("users"))
    assert set(both.item_id) == set(read("items").item_id)
    assert set(both.user_id) == set(read("users").user_id)


def test_new_products_are_a_fifth_and_have_no_purchase_left() -> None:
    kept, hidden = set(read("interactions").item_id), set(read("answer_key").item_id)
    assert not kept & hidden
    assert 0.18 < len(hidden) / 3_659 < 0.22


def test_the_draw_differs_from_that_of_any_benchmark_seed() -> None:
    items, new = read("items").item_id, set(read("answer_key").item_id)
    for seed in (7, 11, 13):
        digests = [hashlib.sha256(f"{seed}:{item}".encode()).hexdigest() for item in items]
        drawn = {i for i, d in zip(items, digests, strict=True) if int(d[:8], 16) / 2**32 < 0.2}
        # Two independent draws of a fifth share a twenty-fifth.
        assert len(drawn & new) / len(items) == pytest.approx(0.04, abs=0.01)


def test_columns_are_those_of_a_data_folder() -> None:
    for name in ("interactions", "answer_key"):
        assert list(read(name)) == ["user_id", "item_id", "rating", "timestamp"]
    assert list(read("items"))[:2] == ["item_id", "title"]
    assert read("items").title.str.len().min() > 0


def test_the_described_counts_hold() -> None:
    meta = json.loads((SAMPLE / "meta.json").read_text())
    hidden = read("answer_key")
    assert meta["interactions"] == len(read("interactions"))
    assert meta["hidden_interactions"] == len(hidden)
    assert meta["new_items"] == hidden.item_id.nunique()
    readme = (SAMPLE / "README.md").read_text()
    only_new = set(hidden.user_id) - set(read("interactions").user_id)
    assert f"{len(only_new)} customers\nbought nothing but new products" in readme
    for count in ("interactions", "hidden_interactions", "new_items", "items", "users"):
        assert f"{meta[count]:,}" in readme


def test_the_script_makes_these_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("items", "users"):
        (source / f"{name}.csv.gz").write_bytes((SAMPLE / f"{name}.csv.gz").read_bytes())
    whole = pd.concat([read("answer_key"), read("interactions")])
    whole.to_csv(source / "interactions.csv.gz", index=False)

    out = tmp_path / "out"
    make_sample(source, out)
    for name in (f"{stem}.csv.gz" for stem in FILES):
        made = (out / name).read_bytes()
        assert made[4:8] == bytes(4), "a time in the header changes the bytes at every making"
        # zlib builds differ in how they compress, not in what.
        assert gzip.decompress(made) == gzip.decompress((SAMPLE / name).read_bytes())
    assert (out / "meta.json").read_bytes() == (SAMPLE / "meta.json").read_bytes()


def test_the_attribution_that_the_licence_asks_for_ships_with_the_data() -> None:
    readme = (SAMPLE / "README.md").read_text()
    for part in (
        "Chen, D. (2015)",
        "CC BY 4.0",
        "creativecommons.org/licenses/by/4.0",
        "Changes made",
    ):
        assert part in readme
