"""The nodes around the registry on real artifacts: what one run registers, the next one finds."""

from pathlib import Path

import pytest
from tfx.types import artifact_utils, standard_artifacts

from components.registry import Registry
from components.registry_nodes import LookUpExecutor, RegistrationExecutor
from components.version_folder import push
from models.errors import Refused

SPLITS = artifact_utils.encode_split_names(["train", "eval"])


@pytest.fixture
def places(tmp_path):
    return {"registry": str(tmp_path / "registry"), "pushed_to": str(tmp_path / "debut")}


def artifact(kind, folder, content=None):
    made = kind()
    made.uri = str(folder)
    if content is not None:
        folder.mkdir(parents=True)
        (folder / "file").write_text(content)
    return made


def inputs(folder, *, pushed_to=None, span=0, blessed=1, infra=None, label="stable"):
    """Of a run that pushed a version, or with None of one that did not."""
    statistics = {
        f"statistics_{lane}": artifact(standard_artifacts.ExampleStatistics, folder / lane, lane)
        for lane in ("catalogue", "interactions")
    }
    for made in statistics.values():
        made.split_names, made.span = SPLITS, span
    found = {
        **statistics,
        "model": artifact(standard_artifacts.Model, folder / "model", f"model of span {span}"),
        "examples": artifact(standard_artifacts.Examples, folder / "examples"),
        "pushed_model": artifact(standard_artifacts.PushedModel, folder / "pushed"),
        "model_blessing": artifact(standard_artifacts.ModelBlessing, folder / "blessing"),
        "infra_blessing": artifact(standard_artifacts.InfraBlessing, folder / "infra"),
    }
    found["examples"].span = span
    found["model_blessing"].set_int_custom_property("blessed", blessed)
    found["infra_blessing"].set_int_custom_property("blessed", blessed if infra is None else infra)
    if pushed_to is not None:
        version = push(folder / "model", pushed_to)
        found["pushed_model"].set_int_custom_property("pushed", 1)
        found["pushed_model"].set_string_custom_property("pushed_version", version.name)
        found["pushed_model"].set_string_custom_property("label", label)
    return {name: [made] for name, made in found.items()}


def register(places, folder, *, span=0):
    given = inputs(folder, pushed_to=folder.parent / "debut", span=span)
    RegistrationExecutor().Do(given, {}, places)


def look_up(places, kind, wanted, folder, *, span=None):
    output, given = artifact(kind, folder), {}
    if span is not None:
        examples = standard_artifacts.Examples()
        examples.span = span
        given = {"examples": [examples]}
    LookUpExecutor().Do(given, {"found": [output]}, {**places, "wanted": wanted})
    return output


def is_absent(output):
    return output.get_int_custom_property("absent") == 1


def test_what_is_not_there_is_marked(places, tmp_path):
    assert is_absent(look_up(places, standard_artifacts.Model, "model", tmp_path / "out"))


def test_the_next_run_finds_the_model_and_the_statistics_with_their_splits(places, tmp_path):
    register(places, tmp_path / "run", span=2)
    model = look_up(places, standard_artifacts.Model, "model", tmp_path / "out")
    assert not is_absent(model)
    assert (tmp_path / "out" / "file").read_text() == "model of span 2"
    statistics = look_up(
        places, standard_artifacts.ExampleStatistics, "statistics_catalogue", tmp_path / "stats"
    )
    assert (tmp_path / "stats" / "file").read_text() == "catalogue"
    assert (statistics.split_names, statistics.span) == (SPLITS, 2)


def test_training_goes_on_from_a_model_of_an_older_span_only(places, tmp_path):
    register(places, tmp_path / "first", span=1)
    register(places, tmp_path / "second", span=2)
    kind = standard_artifacts.Model
    assert is_absent(look_up(places, kind, "model", tmp_path / "none", span=1))
    look_up(places, kind, "model", tmp_path / "two", span=2)
    look_up(places, kind, "model", tmp_path / "three", span=3)
    assert (tmp_path / "two" / "file").read_text() == "model of span 1"
    assert (tmp_path / "three" / "file").read_text() == "model of span 2"


def test_a_run_that_pushed_nothing_fails_and_registers_nothing(places, tmp_path):
    with pytest.raises(Refused, match=r"Evaluator refused .* InfraValidator refused"):
        RegistrationExecutor().Do(inputs(tmp_path / "run", blessed=0), {}, places)
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize(
    ("blessed", "infra", "says"),
    [
        (0, 1, "^Evaluator refused the model: [^;]*evaluation` has the values. Nothing was pushed"),
        (1, 0, "^InfraValidator refused the model: [^;]* says why. Nothing was pushed"),
        (1, 1, "^The Pusher did not push. Nothing was pushed; the last version keeps serving.$"),
    ],
)
def test_a_run_that_pushed_nothing_names_who_refused(places, tmp_path, blessed, infra, says):
    with pytest.raises(Refused, match=says):
        RegistrationExecutor().Do(
            inputs(tmp_path / "run", blessed=blessed, infra=infra), {}, places
        )


def test_a_version_is_registered_with_the_label_that_it_was_pushed_with(places, tmp_path):
    given = inputs(tmp_path / "run", pushed_to=tmp_path / "debut", label="canary")
    RegistrationExecutor().Do(given, {}, places)
    [entry] = Registry(Path(places["registry"]), Path(places["pushed_to"])).entries()
    assert entry.label == "canary"
