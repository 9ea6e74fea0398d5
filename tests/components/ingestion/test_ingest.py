"""Whole ingestions of small folders, through Beam, read back from the files that they wrote."""

import gzip
import logging
import random
from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import join
from components.ingestion.join import JoinUser
from components.ingestion.summary import check_quarantine
from models.errors import BadInput, DebutError
from tests.components.ingestion.helpers import (
    anomalies,
    data_options,
    ingest,
    write_csv,
    write_shop,
)
from tests.components.ingestion.oracle import expected_interactions

FEATURES = ("split", "user_id", "item_id", "timestamp", "history", "item_state")
GROUPS = {f"i{n:02}": f"g{n // 3}" for n in range(12)}  # of 40 items, 4 groups of 3


def many_interactions(seed, count=600):
    """25 users, 40 items; many ties in time, repeated pairs, some rows alike."""
    rng = random.Random(seed)
    rows = [
        (
            f"u{rng.randrange(25)}",
            f"i{rng.randrange(40):02}",
            rng.randrange(1, 6),
            rng.randrange(200),
        )
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "timestamp"])


def write_many(folder, interactions, *, seed):
    columns = "user_id,item_id,rating,timestamp"
    rows = list(interactions.sample(frac=1, random_state=seed).itertuples(index=False, name=None))
    write_csv(folder / "interactions.csv.gz", columns, *rows)
    write_csv(
        folder / "items.csv", "item_id,title", *[(f"i{n:02}", f"Item {n}") for n in range(42)]
    )
    write_csv(folder / "variant_groups.csv", "item_id,group_id", *GROUPS.items())
    return folder


def comparable(rows):
    """Rows as tuples in one order; ratings as float32 holds them."""
    return sorted(
        (
            *(tuple(v) if isinstance(v := row[name], list) else v for name in FEATURES),
            round(row["rating"], 6),
            tuple(round(r, 6) for r in row["history_rating"]),
        )
        for row in rows
    )


def with_splits(result):
    return [{**row, "split": split} for split, rows in result.splits.items() for row in rows]


SHARES = {"new_item_share": 0.3, "eval_user_share": 0.5, "history_length": 7}


class TestAgainstAnIndependentComputation:
    @pytest.fixture(scope="class")
    def interactions(self):
        return many_interactions(seed=1)

    @pytest.fixture(scope="class")
    def result(self, interactions, tmp_path_factory):
        folder = write_many(tmp_path_factory.mktemp("many"), interactions, seed=3)
        return ingest(folder, tmp_path_factory.mktemp("out"), **SHARES)

    def test_splits_histories_and_ratings(self, result, interactions):
        expected = expected_interactions(interactions, GROUPS, data_options(**SHARES))
        assert comparable(with_splits(result)) == comparable(expected)
        assert all(result.splits.values())  # or the test shows little

    def test_variant_groups_are_held_out_together_and_with_all_their_interactions(self, result):
        new = {row["item_id"] for row in result.splits["new_items"]}
        seen = {row["item_id"] for row in result.splits["train"] + result.splits["eval"]}
        assert not new & seen
        sides = {(GROUPS[item], item in new) for item in new | seen if item in GROUPS}
        assert len(sides) == len(set(GROUPS.values()))
        assert {side for _, side in sides} == {True, False}

    def test_catalogue_counts_interactions_over_all_splits(self, result, interactions):
        counts = Counter(interactions.item_id)
        assert {i: row["interactions"] for i, row in result.catalogue.items()} == {
            f"i{n:02}": counts[f"i{n:02}"] for n in range(42)
        }

    def test_summary(self, result, interactions):
        summary = result.summary
        new = {row["item_id"] for row in result.splits["new_items"]}
        assert summary.splits == {split: len(rows) for split, rows in result.splits.items()}
        assert (summary.users, summary.items) == (interactions.user_id.nunique(), 42)
        assert (summary.new_products, summary.held_out_items) == (2, len(new))
        assert (summary.is_implicit, summary.rating_min, summary.rating_max) == (False, 1, 5)

    def test_features_do_not_move_when_rows_are_shuffled_and_the_future_is_another(
        self, result, interactions, tmp_path
    ):
        now = 100
        past = interactions[interactions.timestamp <= now]
        other = many_interactions(seed=2)
        future = other[other.timestamp > now]
        folder = write_many(tmp_path / "other", pd.concat([past, future]), seed=4)
        changed = ingest(folder, tmp_path / "out", **SHARES)

        def features(rows):
            past_rows = [{**row, "split": ""} for row in rows if row["timestamp"] <= now]
            return comparable(past_rows)

        assert features(changed.interactions) == features(result.interactions)
        assert comparable(with_splits(changed)) != comparable(with_splits(result))


class TestImplicitShop:
    @pytest.fixture(scope="class")
    def result(self, tmp_path_factory):
        shop = write_shop(tmp_path_factory.mktemp("shop"))
        (shop / "items.csv").unlink()
        write_csv(
            shop / "items.csv.gz",
            "item_id,title,category,brand,description,price,colour",
            ("a", "赤いマグ", "Küche", "Acme", "كوب", "2.5", "rouge"),
            ("b", "", "", "", "", "", ""),
            ("c", "👩\u200d🍳 two\r\nlines", "x", "", 'He said "hi"', "0", ""),
            ("007", "Spy", "", "", "", "", ""),
        )
        columns = "user_id,age,occupation"
        write_csv(shop / "users.csv", columns, ("ann", 24, "technician"), ("eve", 1, ""))
        return ingest(shop, tmp_path_factory.mktemp("out"))

    def test_hand_computed_histories(self, result):
        histories = {(r["user_id"], r["item_id"]): r["history"] for r in result.interactions}
        assert histories == {
            ("ann", "a"): [],
            ("ann", "b"): ["a"],
            ("ann", "c"): ["a", "b"],
            ("bob", "a"): [],
            ("bob", "c"): ["a"],
        }

    def test_interaction(self, result):
        assert result.row("ann", "c") == {
            "user_id": "ann",
            "item_id": "c",
            "rating": 1.0,
            "timestamp": 30,
            "history": ["a", "b"],
            "history_rating": [1.0, 1.0],
            "profile": "age: 24. occupation: technician.",
            "item_state": "seen",
            "propensity": None,
            "span": 0,
            "span_age": "latest",
            "user_group": "light",
            "item_group": "niche",
        }
        assert result.row("bob", "a")["profile"] == ""
        assert result.row("bob", "a")["user_group"] == "unknown"
        assert result.summary.is_implicit and result.splits["eval"] == []

    def test_item(self, result):
        assert result.catalogue["a"] == {
            "item_id": "a",
            "title": "赤いマグ",
            "category": "Küche",
            "brand": "Acme",
            "description": "كوب colour: rouge.",
            "price": 2.5,
            "available": 1,
            "interactions": 2,
        }

    def test_text_and_ids_come_through_unchanged(self, result):
        assert result.catalogue["b"]["title"] == ""
        assert result.catalogue["c"]["title"] == "👩\u200d🍳 two\r\nlines"
        assert result.catalogue["c"]["description"] == 'He said "hi"'
        assert result.catalogue["007"]["interactions"] == 0

    def test_unknown_price_is_absent_and_zero_is_not(self, result):
        assert result.catalogue["b"]["price"] is None
        assert result.catalogue["c"]["price"] == 0.0


def test_parquet_that_is_read_by_row_groups_gives_what_a_csv_file_gives(tmp_path):
    interactions = many_interactions(seed=4, count=95)
    interactions["timestamp"] = interactions["timestamp"].astype(str)
    interactions.loc[[7, 60], "timestamp"] = "yesterday"
    folders = [write_many(tmp_path / name, interactions, seed=5) for name in ("csv", "parquet")]
    table = folders[1] / "interactions.csv.gz"
    rows = pa.Table.from_pandas(pd.read_csv(table, dtype=str), preserve_index=False)
    pq.write_table(rows, folders[1] / "interactions.parquet", row_group_size=20)
    table.unlink()
    by_csv, by_parquet = (
        ingest(folder, tmp_path / folder.name / "out", **SHARES) for folder in folders
    )
    assert comparable(with_splits(by_parquet)) == comparable(with_splits(by_csv))
    set_aside = by_parquet.set_aside("interactions.parquet")
    assert set_aside == by_csv.set_aside("interactions.csv.gz") and len(set_aside) == 2


def test_spans_are_united_and_newer_item_rows_replace_older_ones(tmp_path):
    one, two = tmp_path / "data" / "span-1", tmp_path / "data" / "span-2"
    write_shop(one)
    write_csv(one / "users.csv", "user_id,town", ("ann", "Rome"), ("bob", "Oslo"))
    write_csv(
        two / "interactions.csv", "user_id,item_id,timestamp,propensity",
        ("ann", "d", 40, 0.125), ("bob", "d", 50, ""), ("bob", "d", 50, 0.5), ("?", "x", 1, 1),
    )  # fmt: skip
    write_csv(
        two / "items.csv", "item_id,title,available",
        ("d", "Dates", ""), ("b", "Rye", "false"), ("b", "Rusk", "true"),
    )  # fmt: skip
    write_csv(two / "users.csv", "user_id,town", ("ann", "Pisa"))
    result = ingest(tmp_path / "data", tmp_path / "out")
    titles = {item: row["title"] for item, row in result.catalogue.items()}
    assert titles == {"a": "Apple", "b": "Rye", "c": "Cup", "d": "Dates"}
    assert [item for item, row in result.catalogue.items() if not row["available"]] == ["b"]
    assert result.row("ann", "d")["history"] == ["a", "b", "c"]
    assert result.row("ann", "a")["profile"] == "town: Pisa."
    # The column may stand in some spans only, and be empty; none counts before some.
    assert [result.row("ann", item)["propensity"] for item in "ad"] == [None, 0.125]
    again = [row for row in result.interactions if (row["user_id"], row["item_id"]) == ("bob", "d")]
    assert sorted(row["propensity"] or 0 for row in again) == [0, 0.5]
    assert not anomalies(result.root / "interactions" / "Split-train", "interactions")
    ages = {
        item: (row["span"], row["span_age"]) for item in "abcd" for row in [result.row("ann", item)]
    }
    earlier = dict.fromkeys("abc", (1, "earlier"))
    assert ages == earlier | {"d": (2, "latest")}
    assert result.summary.spans == (1, 2)
    assert result.set_aside("span-2/items.csv") == [(3, "duplicate id", "item_id")]
    assert result.set_aside("span-2/interactions.csv") == [
        (4, "item not in the catalogue", "item_id")
    ]
    counts = {f.name: (f.read, f.emitted, f.replaced, f.quarantined) for f in result.summary.files}
    assert counts["span-1/items.csv"] == (3, 2, 1, 0)
    assert counts["span-2/items.csv"] == (3, 2, 0, 1)
    assert counts["span-1/users.csv"] == (2, 1, 1, 0)


class TestFaultyShop:
    """One of each kind of bad row, on known rows."""

    @pytest.fixture(scope="class")
    def result(self, tmp_path_factory):
        shop = tmp_path_factory.mktemp("faulty")
        (shop / "items.csv").write_bytes(
            b"item_id,title,price\r\n"
            b"a,Apple,1\r\n"
            b"a,Again,2\r\n"  # 2 duplicate
            b",Nothing,2\r\n"  # 3 empty id
            b"b,Bread,cheap\r\n"  # 4 not a number
            b"b,Bread,1.5\r\n"  # the first good row of b
            b"c,Caf\xe9,1\r\n"  # 6 not UTF-8
            b'd,"Bell \x07",1\r\n'  # 7 control character
            b'e,"never closed,1\r\n'  # 8 malformed
            b'f,"two\r\nlines",inf\r\n'  # 9 not finite
            b"g,short\r\n"  # 10 columns
            b"h," + b"long" * 21 + b",1\r\n"  # 11 too long
            b"i,Last,\r\n"
        )
        write_csv(
            shop / "interactions.csv",
            "user_id,item_id,timestamp,rating",
            ("ann", "a", 10, 1),
            ("ann", "b", "1970-01-01T00:00:20Z", 5),
            ("ann", "c", 20, 5),  # 3 its item was set aside
            ("", "a", 20, 5),  # 4
            ("ann", "a", "soon", 5),  # 5
            ("ann", "a", 9e12, 5),  # 6
            ("ann", "a", 30, 6),  # 7 outside the scale
            ("ann", "i", 30, 3),
        )
        write_csv(shop / "users.csv", "user_id,age", ("ann", 24), ("ann", 25), ("bob", "x" * 80))
        options = {"max_text_length": 70, "rating_min": 1, "rating_max": 5}
        return ingest(shop, tmp_path_factory.mktemp("out"), **options)

    def test_bad_rows_are_set_aside_with_row_number_reason_and_column(self, result):
        assert result.set_aside("items.csv") == [
            (2, "duplicate id", "item_id"),
            (3, "empty id", "item_id"),
            (4, "not a number", "price"),
            (6, "not UTF-8", "title"),
            (7, "control character", "title"),
            (8, "malformed quoting", ""),
            (9, "not finite", "price"),
            (10, "wrong number of columns", ""),
            (11, "too long", "title"),
        ]
        assert result.set_aside("interactions.csv") == [
            (3, "item not in the catalogue", "item_id"),
            (4, "empty id", "user_id"),
            (5, "neither unix seconds nor ISO 8601", "timestamp"),
            (6, "timestamp out of range", "timestamp"),
            (7, "outside the rating scale", "rating"),
        ]
        assert result.set_aside("users.csv") == [
            (2, "duplicate id", "user_id"),
            (3, "too long", "age"),
        ]

    def test_good_rows_are_taken_in(self, result):
        titles = {item: row["title"] for item, row in result.catalogue.items()}
        assert titles == {"a": "Apple", "b": "Bread", "i": "Last"}
        found = [(r["item_id"], r["rating"], r["timestamp"]) for r in result.interactions]
        assert found == [("a", 0.0, 10), ("b", 1.0, 20), ("i", 0.5, 30)]

    def test_line_and_value_help_to_find_the_row(self, result):
        by_row = {row["row"]: row for row in result.quarantine if row["file"] == "items.csv"}
        # The quoted field of row 9 holds a line end, so the rows after it lie one line lower.
        assert [by_row[n]["line"] for n in (2, 8, 9, 10)] == [3, 9, 10, 12]
        assert by_row[4]["value"] == "cheap" and by_row[6]["value"] == "Caf\\xe9"
        assert by_row[11]["value"] == "long" * 20 + "…"

    def test_summary_counts_reasons(self, result):
        items = next(file for file in result.summary.files if file.name == "items.csv")
        assert (items.read, items.emitted, items.quarantined) == (12, 3, 9)
        reasons = {(r.reason, r.column): (r.count, r.first_rows) for r in items.reasons}
        assert reasons["not UTF-8", "title"] == (1, (6,))

    def test_share_above_the_limit_is_refused_with_share_limit_and_reasons(self, result):
        check_quarantine(result.summary, max_share=0.75)
        with pytest.raises(BadInput) as caught:
            check_quarantine(result.summary, max_share=0.7)
        words = (
            "9 of 12 rows of items.csv (75.0%)",
            "70.0%",
            "title: control character (1, rows 7)",
        )
        for part in words:
            assert part in str(caught.value)

    def test_nothing_left_to_train_on_is_refused(self, result):
        splits = {"train": 0, "eval": 0, "new_items": 3}
        with pytest.raises(BadInput, match=r"left to train on: .*3 went to new_items"):
            check_quarantine(result.summary.model_copy(update={"splits": splits}), max_share=1.0)
        with pytest.raises(BadInput, match=r"catalogue is empty: .*title: control.* Mend them"):
            check_quarantine(result.summary.model_copy(update={"items": 0}), max_share=1.0)


def test_raw_user_ids_are_nowhere_where_a_key_is_configured(tmp_path, monkeypatch, caplog):
    people = ["alice@example.org", "bob@example.org", "eve@example.org", "mallory@example.org"]
    alice, bob, eve, mallory = people
    shop = write_shop(tmp_path / "shop")
    (shop / "interactions.csv").write_bytes(
        "\n".join(
            [
                "user_id,item_id,rating,timestamp",
                f"{alice},a,1,10",
                f"{alice},b,2,20",
                f"a,{bob},3,30",  # columns mixed up
                f"c,a,{eve},30",
                f"a,b,3,{eve}",
                f"{mallory}\x07,a,3,30",
                f"{mallory},a",
                f'"{mallory},a,3,30',
                "",
            ]
        ).encode()
    )
    write_csv(shop / "users.csv", "user_id,age", (alice, 24), (alice, 25), (eve, "x" * 5000))
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    caplog.set_level(logging.INFO)
    result = ingest(shop, tmp_path / "out", pseudonym_key="SHOP_KEY")
    assert result.summary.users == 1 and len(result.quarantine) == 8
    (user,) = {row["user_id"] for row in result.interactions}
    assert len(user) == 64 and result.row(user, "b")["profile"] == "age: 24."
    with pytest.raises(BadInput) as caught:
        check_quarantine(result.summary, max_share=0.1)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) >= 5
    contents = [
        p.read_bytes() if p.suffix != ".gz" else gzip.decompress(p.read_bytes()) for p in written
    ]
    for text in [*contents, caplog.text.encode(), str(caught.value).encode()]:
        for person in people:
            assert person.encode() not in text
            assert person.split("@")[0].encode() not in text
        assert b"s3cret" not in text


def test_users_that_are_encoded_together_or_apart_have_the_same_rows(tmp_path, monkeypatch):
    shop = write_shop(tmp_path / "shop")
    together = ingest(shop, tmp_path / "together")
    monkeypatch.setattr(join, "_BATCH", 1)  # a user is encoded when their rows are there
    apart = ingest(shop, tmp_path / "apart")
    assert len(apart.interactions) == 5
    assert apart.splits == together.splits
    assert apart.summary == together.summary


def test_rows_that_a_runner_loses_fail_the_run(tmp_path, monkeypatch):
    whole = JoinUser.process

    def lossy(self, element, scale):
        user, rows = element
        return whole(self, (user, list(rows)[1:]), scale)

    monkeypatch.setattr(JoinUser, "process", lossy)
    with pytest.raises(
        DebutError, match=r"interactions.csv don't add up: 5 read, but 3 taken in"
    ) as e:
        ingest(write_shop(tmp_path / "shop"), tmp_path / "out")
    assert not isinstance(e.value, BadInput)
