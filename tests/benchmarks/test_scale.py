"""The generated shop that growth is measured on, and what the table says of it."""

import csv
from collections import Counter

import pytest

from benchmarks import generated_shop
from benchmarks.generated_shop import Size, write_shop
from benchmarks.scale import growth
from benchmarks.stage import Stage
from components.ingestion.folder import open_folder

SIZE = Size(rows=4000, users=200, items=100)


def rows(folder, name):
    with (folder / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated") / "shop"
    write_shop(folder, SIZE)
    return folder


def test_it_is_a_data_folder_of_the_size_asked_for(shop):
    open_folder(shop)
    items, interactions = rows(shop, "items"), rows(shop, "interactions")
    assert (len(items), len(interactions)) == (SIZE.items, SIZE.rows)
    sold = {row["item_id"] for row in interactions}
    assert sold < {row["item_id"] for row in items}
    assert len({row["item_id"] for row in items}) - len(sold) >= 5  # new products
    assert all(row["title"].count(" ") >= 4 and row["description"] for row in items)


def test_a_bestseller_sells_by_zipf_s_law(shop):
    counts = [count for _, count in Counter(
        row["item_id"] for row in rows(shop, "interactions")
    ).most_common()]  # fmt: skip
    harmonic = sum(1 / rank for rank in range(1, 96))
    for rank in (1, 2, 10):
        assert counts[rank - 1] == pytest.approx(SIZE.rows / harmonic / rank, rel=0.2)


def test_blocks_give_every_row_and_the_seed_gives_the_same_shop(tmp_path, monkeypatch, shop):
    write_shop(tmp_path / "again", SIZE)
    assert rows(tmp_path / "again", "interactions") == rows(shop, "interactions")
    monkeypatch.setattr(generated_shop, "_BLOCK", 999)
    write_shop(tmp_path / "blocks", SIZE, seed=1)
    assert len(rows(tmp_path / "blocks", "interactions")) == SIZE.rows


def test_growth_is_that_of_a_row_and_leaves_the_program_s_memory_out():
    small = Stage(seconds=9.0, processor=2.0, before=700.0, peak=800.0, worker=0.0, written=5)
    large = Stage(seconds=9.0, processor=10.0, before=700.0, peak=1200.0, worker=0.0, written=50)
    assert growth(small, large, 10) == pytest.approx((0.5, 0.5))
