from pathlib import Path

from benchmarks.items import _SECONDS
from components.catalogue.update import Updated
from pipeline.changes.adding import Pushed
from pipeline.changes.changing import Made
from pipeline.commands.items import _told


def test_the_seconds_are_those_that_the_command_prints():
    updated = Updated(
        added=1200, realigned=0, embedded=0, interactions=0, repeated=0, adapted=0, of_training=0,
        purchases=0, withdrawn=0, set_aside=[], embedding_seconds=6.5, shelf_seconds=0.25,
    )  # fmt: skip
    lines = _told(Pushed(Made(Path("2"), Path("1")), updated, None))
    found = _SECONDS.search("\n".join(lines))
    assert found is not None and found.groups() == ("6.50", "0.25")
    assert "1,200 products added, 0 updated" in lines[0]
