"""What `debut items` says of what it did."""

from pathlib import Path
from typing import Any

from components.catalogue.update import Updated
from components.ingestion.set_aside import SetAside
from pipeline.changes.adding import Pushed
from pipeline.changes.changing import Made
from pipeline.commands.items import _told
from pipeline.counted import counted

# How many rows were set aside, by column and reason.
FAULTS = {
    ("user_id", "empty"): 2, ("item_id", "duplicate id"): 1200, ("", "too many fields"): 7,
    ("price", "no number"): 30, ("timestamp", "no time"): 1,
}  # fmt: skip


def said(**values):
    nothing: dict[str, Any] = dict.fromkeys(Updated._fields, 0) | {"set_aside": []}
    made = Made(version=Path("2"), base=Path("1"))
    return _told(Pushed(made, Updated(**nothing | values), Path("set-aside", "2.jsonl")))


def test_reasons_for_setting_rows_aside_that_are_not_told_are_counted():
    rows = [
        SetAside("new.csv", 1, 2, reason, column, "")
        for (column, reason), count in FAULTS.items()
        for _ in range(count)
    ]
    assert said(set_aside=rows)[0] == (
        "1,240 rows set aside: item_id: duplicate id (1,200); price: no number (30); "
        "too many fields (7); others (3). See set-aside/2.jsonl."
    )
    assert "others" not in said(set_aside=rows[:1203])[0]


def test_interactions_of_items_that_training_knew_belong_into_the_data_folder():
    _, left, _ = said(interactions=3, adapted=1, of_training=2, purchases=3)
    assert left.startswith("2 items were left as they are") and "into the data folder" in left


def test_what_there_is_one_of_is_told_as_one():
    told = " ".join(
        said(added=1, interactions=1, repeated=1, of_training=1, purchases=1, withdrawn=1)
    )
    for one in ("1 product added", "1 interaction taken in", "1 purchase of", "1 item was left",
                "1 interaction passed over: taken in before",
                "1 product withdrawn"):  # fmt: skip
        assert one in told
    assert [counted(number, "item", "items") for number in (0, 1, 2000)] == [
        "0 items", "1 item", "2,000 items",
    ]  # fmt: skip
