"""The Dockerfile of the pipeline's image, as far as it can be held to anything without a build."""

import fnmatch
import re
import shlex

import pytest
import tomli

from pipeline.kubeflow.tfx_compiler import ENTRY_POINT
from tests.kubeflow.engine import DOCKERFILE
from tests.kubeflow.launcher import REPOSITORY


def instructions():
    """(word, rest) of each instruction, comments left out and continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [tuple(line.split(None, 1)) for line in lines]


def of(word):
    return [rest for found, rest in instructions() if found == word]


def copied():
    """Paths of the repository that go into the image."""
    found = [shlex.split(rest) for rest in of("COPY")]
    return [path for words in found if not words[0].startswith("--from") for path in words[:-1]]


def test_both_stages_stand_on_the_base_that_can_be_chosen():
    assert instructions()[0] == ("ARG", "BASE=python:3.10-slim-bookworm")
    assert [rest.split()[0] for rest in of("FROM")] == ["${BASE}", "${BASE}"]


def test_it_runs_as_a_user_without_rights_whose_number_kubernetes_can_check():
    *before, user = of("USER")
    assert not before and user.isdigit() and int(user) > 0
    last = max(place for place, (word, _) in enumerate(instructions()) if word == "RUN")
    assert last < instructions().index(("USER", user))
    assert f"--uid {user} " in " ".join(of("RUN"))


def test_the_launcher_s_folders_are_there_for_that_user():
    assert re.search(r"mkdir --mode=1777 /minio /s3 /gcs", " ".join(of("RUN")))


@pytest.mark.parametrize("path", sorted(set(copied())))
def test_what_is_copied_is_there_and_reaches_the_builder(path):
    assert (REPOSITORY / path).exists()
    ignore = DOCKERFILE.with_name(f"{DOCKERFILE.name}.dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert any(fnmatch.fnmatch(path, rule) for rule in allowed)


def test_every_package_and_the_sample_are_in_the_image():
    project = tomli.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} | {"data"} <= set(copied())


def test_the_entry_point_is_the_one_that_is_compiled_into_the_tasks():
    [entry] = of("ENTRYPOINT")
    assert entry == "[" + ", ".join(f'"{word}"' for word in ENTRY_POINT) + "]"
