"""What is read back of runs, also once people have removed artifacts or moved the root."""

import shutil

import pytest
from click.testing import CliRunner

from models.errors import BadInput, DebutError
from models.stability import stability_index
from pipeline.cli import main
from pipeline.config import load_configuration
from pipeline.console.judged import Lost
from pipeline.console.overview import overview
from pipeline.console.records import Records
from pipeline.drift import FeatureDrift, read_drift
from pipeline.layout import artifacts_folder, metadata_file, serving_folder
from pipeline.outcome import read_outcome
from pipeline.pushed import read_terms
from pipeline.run_artifacts import newest_run
from pipeline.versions import NOT_RECORDED, read_versions
from tests.pipeline.recorded import ERROR, RecordedRoot

BEFORE, AFTER = (50.0, 30.0, 20.0), (20.0, 30.0, 50.0)


@pytest.fixture
def root(tmp_path):
    """Two runs, the second one with other ratings."""
    recorded = RecordedRoot(tmp_path / "Läden & Söhne 𠮷")
    recorded.run(error=0.25, ratings=BEFORE)
    recorded.run(error=0.5, ratings=AFTER, divergence=0.125)
    return tmp_path / "Läden & Söhne 𠮷"


def gone(root, node):
    shutil.rmtree(artifacts_folder(root) / node)


def test_metrics_terms_and_drift_are_those_that_the_runs_left(root):
    newest, oldest = read_versions(root)
    assert newest.metrics[f"{ERROR} overall"] == 0.5
    assert oldest.metrics[f"{ERROR} overall"] == 0.25
    terms = read_terms(root, serving_folder(root) / "2")
    assert terms.scale == (1, 5, False)
    drift = read_drift(newest_run(metadata_file(root)))
    assert drift.since == "run-1"
    assert drift.ratings == stability_index(BEFORE, AFTER)
    assert drift.features == (FeatureDrift("price", "all", 0.125, 0.25),)


@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [
        ((10, 6, 4), (6, 8, 6), False),  # an index of 0.15, as chance has with 20 ratings
        ((10, 6, 4), (0, 2, 18), True),
        ((1000, 600, 400), (990, 610, 400), True),
        ((0, 0, 0), (6, 8, 6), False),  # no ratings at all
    ],
)
def test_ratings_that_differ_as_few_do_by_chance_have_not_drifted(tmp_path, before, after, is_told):
    recorded = RecordedRoot(tmp_path)
    recorded.run(ratings=before)
    recorded.run(ratings=after)
    drift = read_drift(newest_run(metadata_file(tmp_path)))
    assert drift.ratings == (stability_index(before, after) if is_told else None)


def test_drift_is_from_the_last_stable_version_whatever_canary_came_between(root):
    recorded = RecordedRoot(root, versions=2)
    recorded.run(ratings=BEFORE, label="canary")
    recorded.run(ratings=BEFORE)
    drift = read_drift(newest_run(metadata_file(root)))
    assert (drift.since, drift.ratings) == ("run-2", stability_index(AFTER, BEFORE))


def test_the_first_run_has_drifted_from_nothing(tmp_path):
    RecordedRoot(tmp_path).run(ratings=BEFORE)
    drift = read_drift(newest_run(metadata_file(tmp_path)))
    assert (drift.since, drift.ratings) == ("", None)


def test_versions_beside_which_nothing_is_recorded_are_listed_and_nothing_is_made(tmp_path):
    (serving_folder(tmp_path) / "7").mkdir(parents=True)
    [version] = read_versions(tmp_path)
    assert (version.version, version.by, version.labels) == (7, NOT_RECORDED, ("stable",))
    assert Records(tmp_path).read()[1] is None
    assert not metadata_file(tmp_path).exists()


def test_versions_are_listed_without_metrics_once_the_evaluations_are_removed(root):
    gone(root, "Evaluator")
    assert [(v.version, v.metrics, v.gates) for v in read_versions(root)] == [
        (2, {}, "passed"),
        (1, {}, "passed"),
    ]
    done = CliRunner().invoke(main, ["versions", "--root", str(root)])
    assert done.exit_code == 0, done.output
    assert Records(root).read()[1] == Lost(
        "run-2", str(artifacts_folder(root) / "Evaluator" / "evaluation" / "2")
    )


def test_drift_compares_no_ratings_with_an_evaluation_that_was_removed(root):
    shutil.rmtree(artifacts_folder(root) / "Evaluator" / "evaluation" / "1")
    drift = read_drift(newest_run(metadata_file(root)))
    assert (drift.since, drift.ratings) == ("run-1", None)
    assert drift.features


def test_changing_items_names_what_is_gone_of_the_run_behind_the_model(root):
    gone(root, "DataFolderExampleGen/quarantine/1")
    with pytest.raises(BadInput, match=r"quarantine/1 is gone.*enable_cache=false"):
        read_terms(root, serving_folder(root) / "1")
    # Nor is another run asked in its place.
    assert read_terms(root, serving_folder(root) / "2").scale == (1, 5, False)


def test_changing_a_version_that_nothing_is_recorded_of_says_what_helps(root):
    with pytest.raises(BadInput, match=r"no run behind version 3, .*`debut run`.*`debut rollback`"):
        read_terms(root, serving_folder(root) / "3")


def test_a_run_whose_cache_names_what_is_gone_says_how_to_run_without_it(root):
    gone(root, "DataFolderExampleGen")
    with pytest.raises(DebutError, match=r"quarantine/2, which is gone.*enable_cache=false"):
        read_outcome(metadata_file(root), load_configuration(), {})


def test_a_root_that_was_moved_is_told_from_one_that_tells_nothing(root, tmp_path):
    moved = root.rename(tmp_path / "moved")
    assert [version.version for version in read_versions(moved)] == [2, 1]
    assert read_drift(newest_run(metadata_file(moved))).ratings is None
    with pytest.raises(BadInput, match="the root was moved"):
        read_terms(moved, serving_folder(moved) / "2")


@pytest.mark.parametrize(
    ("run", "is_good", "headline", "reason"),
    [
        ({}, True, "Pushed version 3", ""),
        ({"answers": False}, False, "Refused: nothing was pushed", "InfraValidator"),
        ({"withdrawn": "it sold nothing"}, False, "Refused: nothing was pushed", "sold nothing"),
        ({"ends": False}, False, "Not pushed", "did not come to its push"),
        ({"is_cached": True}, True, "Nothing has changed since the run that pushed version 3", ""),
    ],
)
def test_the_console_says_of_a_blessed_run_what_became_of_it(root, run, is_good, headline, reason):
    RecordedRoot(root, versions=2).run(**run)
    told = overview(*Records(root).read())["run"]["verdict"]
    assert (told["is_good"], told["headline"]) == (is_good, headline)
    assert reason in " ".join(told["reasons"])
