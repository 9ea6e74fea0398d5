"""Every container command of the compiled pipeline, in order, to a pushed model, twice.

`make test-kubeflow` runs it; `make test` leaves it out.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.registry import Registry
from serving.version_labels import read_labels, versions_on_disk
from tests.end_to_end.running import small
from tests.end_to_end.shop import write_shop
from tests.kubeflow.launcher import REPOSITORY, Cluster, Place, TaskFailed, process
from tests.tiny_bert import write_tiny_bert

pytestmark = [pytest.mark.kubeflow, pytest.mark.timeout(1800)]

ABSENT = {"PreviousStatisticsCatalogue", "PreviousStatisticsInteractions", "ServedModel"}


@dataclass(frozen=True)
class Workplace:
    """A cluster, its volume, and the compiled pipeline."""

    cluster: Cluster
    mount: Path
    spec: dict[str, Any]

    @property
    def pushed(self) -> Path:
        return self.mount / "debut"

    @property
    def registry(self) -> Registry:
        return Registry(folder=self.mount / "registry", pushed=self.pushed)


def compiled(folder: Path, settings: list[str], name: str = "pipeline.yaml") -> dict[str, Any]:
    options = [word for setting in settings for word in ("--set", setting)]
    subprocess.run(
        [
            sys.executable, "-m", "pipeline.cli", "compile", "--runner", "kubeflow",
            "--output", folder / name, *options,
        ],
        cwd=REPOSITORY,
        check=True,
    )  # fmt: skip
    return next(yaml.safe_load_all((folder / name).read_text()))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kubeflow")
    shop, encoder = write_shop(folder / "shop"), write_tiny_bert(folder / "bert")
    mount = folder / "volume"
    mount.mkdir()
    settings = [*small(shop.folder, encoder), f"kubeflow.mount={mount}"]
    cluster = Cluster(Place(store=folder / "store", work=folder / "work"), process)
    yield Workplace(cluster, mount, compiled(folder, settings))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def first(place):
    return place.cluster.run(place.spec, "first")


@pytest.fixture(scope="module")
def second(place, first):
    return place.cluster.run(place.spec, "second")


def test_the_first_run_finds_nothing_and_pushes_its_model(place, first):
    marked = {task for task, outputs in first.items() for a in outputs.values()
              if a["metadata"].get("absent") == 1}  # fmt: skip
    assert marked == ABSENT
    [version] = versions_on_disk(place.pushed)
    assert (place.pushed / str(version) / "saved_model.pb").is_file()
    pushed = first["AtomicPusher"]["pushed_model"]["metadata"]
    assert (pushed["pushed"], pushed["pushed_version"]) == (1, str(version))


def test_what_was_pushed_is_what_infra_validation_blessed(place, first):
    blessed = place.cluster.files(first["EmbeddedInfraValidator"]["blessing"]["uri"])
    warmup = "assets.extra/tf_serving_warmup_requests"
    [stored] = blessed.rglob(warmup)
    [version] = versions_on_disk(place.pushed)
    assert (place.pushed / str(version) / warmup).read_bytes() == stored.read_bytes()


def test_the_second_run_compares_with_the_first_one_s_model(place, first, second):
    assert not [a for outputs in second.values() for a in outputs.values()
                if a["metadata"].get("absent")]  # fmt: skip
    found = second["ServedModel"]["model"]
    trained = place.cluster.files(first["TwoTowerTrainer"]["model"]["uri"])
    copied = place.cluster.files(found["uri"])
    assert contents(copied) == contents(trained) and contents(trained)
    blessing = second["Evaluator"]["blessing"]["metadata"]
    assert blessing["blessed"] == 1
    assert blessing["baseline_model"] == found["uri"]
    assert blessing["current_model"] == second["TwoTowerTrainer"]["model"]["uri"]


def test_drift_is_measured_from_the_first_run_s_statistics(place, first, second):
    for lane in ("Catalogue", "Interactions"):
        made = first[f"Statistics{lane}"]["statistics"]
        found = second[f"PreviousStatistics{lane}"]["statistics"]
        assert contents(place.cluster.files(found["uri"])) == contents(
            place.cluster.files(made["uri"])
        )
        assert found["metadata"]["split_names"] == made["metadata"]["split_names"]
        compared = second[f"DriftValidator{lane}"]["anomalies"]
        assert list(place.cluster.files(compared["uri"]).rglob("SchemaDiff.pb"))


def test_both_versions_are_in_the_registry_and_the_newest_is_stable(place, second):
    versions = sorted(versions_on_disk(place.pushed))
    assert [entry.version for entry in place.registry.entries()] == versions
    assert len(versions) == 2
    assert read_labels(place.pushed)["stable"] == versions[-1]
    served = place.registry.served()
    assert served is not None and served.version == versions[-1]


def test_only_remote_uris_leave_a_task(second):
    for task, outputs in second.items():
        for artifact in outputs.values():
            told = [artifact["uri"], *artifact["metadata"].values()]
            assert not [t for t in told if isinstance(t, str) and "/mounts/" in t], task


def test_a_refused_model_is_not_pushed_and_the_run_fails_with_the_gate_s_code(place, second):
    """The tasks before the gate are taken from the second run."""
    blessing = second["Evaluator"]["blessing"]
    refused = {**blessing, "metadata": {**blessing["metadata"], "blessed": 0.0}}
    files = place.cluster.files(blessing["uri"])
    before = versions_on_disk(place.pushed)
    (files / "BLESSED").rename(files / "NOT_BLESSED")
    try:
        outputs = {**second, "Evaluator": {**second["Evaluator"], "blessing": refused}}
        outputs["AtomicPusher"] = place.cluster.run_task(
            place.spec, "AtomicPusher", "refused", outputs
        )
        with pytest.raises(TaskFailed, match="Evaluator refused the model") as failure:
            place.cluster.run_task(place.spec, "Registration", "refused", outputs)
    finally:
        (files / "NOT_BLESSED").rename(files / "BLESSED")
    assert failure.value.code == 3
    assert versions_on_disk(place.pushed) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
