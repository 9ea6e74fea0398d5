"""What `debut items` says of what it did."""

from pathlib import Path

from components.catalogue.update import Updated
from components.ingestion.set_aside import SetAside
from pipeline.changes.adding import Pushed
from pipeline.changes.changing import Made
from pipeline.commands.items import _told

# How many rows were set aside, by column and reason.
FAULTS = {
    ("user_id", "empty"): 2, ("item_id", "duplicate id"): 1200, ("", "too many fields"): 7,
    ("price", "no number"): 30, ("timestamp", "no time"): 1,
}  # fmt: skip


def said(set_aside):
    done = Updated(
        added=0, realigned=0, embedded=0, interactions=0, repeated=0, adapted=0, of_training=0,
        purchases=0, withdrawn=0, set_aside=set_aside, embedding_seconds=0.0, shelf_seconds=0.0,
    )  # fmt: skip
    made = Made(version=Path("2"), base=Path("1"))
    return _told(Pushed(made, done, Path("set-aside", "2.jsonl")))


def test_reasons_for_setting_rows_aside_that_are_not_told_are_counted():
    rows = [
        SetAside("new.csv", 1, 2, reason, column, "")
        for (column, reason), count in FAULTS.items()
        for _ in range(count)
    ]
    assert said(rows)[0] == (
        "1,240 rows set aside: item_id: duplicate id (1,200); price: no number (30); "
        "too many fields (7); others (3). See set-aside/2.jsonl."
    )
    assert "others" not in said(rows[:1203])[0]
