"""The generated shop that growth is measured on, how a stage is measured, what is said of it."""

import csv
from collections import Counter

import pytest

from benchmarks import generated_shop
from benchmarks.generated_shop import Size, write_shop
from benchmarks.scale import Measured, growth, per_row
from benchmarks.stage import Stage, in_a_process
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


def test_what_a_row_more_takes_leaves_out_what_every_size_takes():
    fixed = Stage(seconds=9.0, processor=2.0, before=700.0, peak=800.0, worker=0.0, written=1000)
    more = Stage(seconds=9.0, processor=2.9, before=700.0, peak=809.0, worker=0.0, written=91_000)
    before, now = (
        Measured(Size(rows=rows, users=1, items=9), {"TwoTowerTrainer": stage})
        for rows, stage in ((1000, fixed), (10_000, more))
    )
    cost = per_row(before, now, "TwoTowerTrainer")
    assert cost.processor == pytest.approx(100e-6)
    assert cost.memory == pytest.approx(1024**2 / 1000)
    assert cost.written == pytest.approx(10)


def test_a_stage_is_measured_by_what_it_wrote_and_held(tmp_path, shop):
    stage = in_a_process(tmp_path, "DataFolderExampleGen", [f"data.path={shop}"])
    written = [file for file in (tmp_path / "artifacts").rglob("*") if file.is_file()]
    assert stage.written == sum(file.stat().st_size for file in written) > SIZE.rows * 5
    assert stage.seconds > 0 and stage.processor > 0
    assert stage.peak >= stage.before > 100
    assert stage.worker == 0  # the profile has none
