from pathlib import Path

import pytest

from components.registry import Registry
from components.version_folder import promote, push


@pytest.fixture
def shop(tmp_path):
    """A registry beside a folder of pushed versions."""
    return Registry(folder=tmp_path / "registry", pushed=tmp_path / "debut")


def pushed(shop, *, canary=False, span=0, register=True, keep=10, text="weights"):
    """Push a version whose model holds a text, and register it."""
    model = shop.folder.parent / "model"
    model.mkdir(exist_ok=True)
    (model / "saved_model.pb").write_text(text)
    version = int(push(model, shop.pushed, canary=canary, keep=keep).name)
    if register:
        shop.add(
            version,
            label="canary" if canary else "stable",
            span=span,
            artifacts={"model": model},
            properties={"statistics_catalogue": {"split_names": '["all"]', "span": span}},
        )
    return version


def served(shop):
    entry = shop.served()
    return entry and entry.version


def test_before_the_first_push_nothing_is_served(shop):
    assert shop.served() is None
    assert shop.served_of_older_span(5) is None


def test_the_newest_stable_version_is_served_and_its_model_is_a_copy(shop, tmp_path):
    pushed(shop, text="old")
    version = pushed(shop, text="new")
    assert served(shop) == version
    (tmp_path / "copy").mkdir()  # as TFX makes an output's folder
    shop.served().copy("model", tmp_path / "copy")
    assert (tmp_path / "copy" / "saved_model.pb").read_text() == "new"
    assert shop.served().properties["statistics_catalogue"]["split_names"] == '["all"]'


def test_a_canary_is_served_only_once_it_was_promoted(shop):
    first = pushed(shop)
    canary = pushed(shop, canary=True)
    assert served(shop) == first
    assert promote(shop.pushed) == canary
    assert served(shop) == canary


def test_a_version_that_was_made_of_another_leads_to_the_one_before_it(shop):
    """As an update of products, which registers nothing; a canary between is not meant."""
    first = pushed(shop)
    pushed(shop, canary=True)
    pushed(shop, register=False)
    assert served(shop) == first


def test_training_goes_on_from_the_newest_model_of_an_older_span(shop):
    first = pushed(shop, span=1)
    second = pushed(shop, span=2)
    pushed(shop, span=3)
    found = {now: shop.served_of_older_span(now) for now in (1, 2, 3)}
    assert found[1] is None
    assert (found[2].version, found[3].version) == (first, second)
    assert shop.served_of_older_span(0) is None


def test_training_goes_on_from_no_canary_before_its_promotion_nor_from_data_without_spans(shop):
    pushed(shop, span=0)
    assert shop.served_of_older_span(3) is None
    first = pushed(shop, span=1)
    canary = pushed(shop, span=2, canary=True)
    assert shop.served_of_older_span(3).version == first
    promote(shop.pushed)
    assert shop.served_of_older_span(3).version == canary


def test_entries_come_by_number_and_what_is_half_written_is_none(shop):
    for version in (10, 9):
        (shop.pushed / str(version)).mkdir(parents=True)
    for version in (9, 10):
        artifacts = {"model": shop.pushed / str(version)}
        shop.add(version, label="stable", span=0, artifacts=artifacts, properties={})
    (shop.folder / ".incoming-1-2").mkdir()
    assert [entry.version for entry in shop.entries()] == [9, 10]


def test_entries_go_with_their_versions(shop):
    pushed(shop, keep=2)
    second, third = (pushed(shop, keep=2) for _ in range(2))
    assert [entry.version for entry in shop.entries()] == [second, third]
    assert sorted(path.name for path in shop.folder.iterdir()) == [str(second), str(third)]


def test_what_a_killed_task_left_half_written_goes_with_the_next_entry(shop):
    first = pushed(shop)
    for left in (".incoming-1-2", f".outgoing-{first}-3"):
        (shop.folder / left / "model").mkdir(parents=True)
    second = pushed(shop)
    assert sorted(path.name for path in shop.folder.iterdir()) == [str(first), str(second)]


def test_registering_again_changes_nothing_and_half_an_entry_is_never_seen(shop):
    version = pushed(shop)
    before = (shop.folder / str(version) / "record.json").read_text()
    shop.add(version, label="canary", span=9, artifacts={}, properties={})
    assert (shop.folder / str(version) / "record.json").read_text() == before
    with pytest.raises(FileNotFoundError):
        shop.add(
            version + 1, label="stable", span=0, artifacts={"model": Path("/no")}, properties={}
        )
    assert [path.name for path in shop.folder.iterdir()] == [str(version)]
