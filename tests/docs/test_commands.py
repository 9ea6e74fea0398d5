"""Every command that the documentation shows is one that the programs understand."""

import ast
import contextlib
import functools
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner

from benchmarks.cli import benchmarks
from models.rules import read_rules
from pipeline.cli import main
from pipeline.config import load_configuration
from serving import flags
from tests.docs.pages import ROOT, blocks, commands, documented_commands

# Programs of the machine; the rest comes with the environment.
SYSTEM = {"curl", "docker", "du", "export", "kubectl", "sh", "source", "tar", "zcat"}
ENVIRONMENT = {"debut", "debut-model-server", "python", "saved_model_cli", "tensorboard", "uv"}
PLAIN = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}


def shown(command):
    return f"{command.page}: {command.text}"


def unique(program):
    return list({command.text: command for command in documented_commands(program)}.values())


def test_only_known_programs_are_shown():
    for command in documented_commands():
        assert command.program in SYSTEM | ENVIRONMENT | {"make", ".ci/run"}, shown(command)
    for program in ENVIRONMENT:
        assert shutil.which(program, path=str(Path(sys.executable).parent)), program


def test_the_two_commands_of_the_readme_are_there():
    texts = {command.text for command in documented_commands("make") if "README" in command.page}
    assert {"make run", "make test"} <= texts


@pytest.mark.parametrize("command", unique("make"), ids=shown)
def test_make_targets_exist(command):
    subprocess.run(
        ["make", "--dry-run", *command.words[1:]],
        cwd=ROOT, env=PLAIN, capture_output=True, check=True,
    )  # fmt: skip


@pytest.mark.parametrize("command", unique("debut"), ids=shown)
def test_debut_understands_its_commands(command):
    given: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for inner in commands().values():
            stack.enter_context(mock.patch.object(inner, "callback", given.update))
        result = CliRunner().invoke(main, command.words[1:])
    assert result.exit_code == 0, result.output
    load_configuration(None, given.get("settings", ()))


@pytest.mark.parametrize("command", unique("debut-model-server"), ids=shown)
def test_the_model_server_understands_its_flags(command):
    parsed = flags.parse(command.words[1:])
    assert not parsed.unknown
    assert not parsed.lacking


@pytest.mark.parametrize("command", unique("python"), ids=shown)
def test_python_commands_name_what_exists(command):
    first, *rest = command.words[1:]
    if first == "-m":
        assert importlib.util.find_spec(rest[0]), command.text
    else:
        assert (ROOT / first).exists(), command.text


@pytest.mark.parametrize("command", unique("sh"), ids=shown)
def test_shell_scripts_are_there(command):
    assert (ROOT / command.words[1]).is_file()


@pytest.mark.parametrize(
    "command", [c for c in unique("python") if c.words[1:3] == ["-m", "benchmarks"]], ids=shown
)
def test_the_benchmarks_understand_their_commands(command):
    called = []
    with contextlib.ExitStack() as stack:
        for name, inner in benchmarks.commands.items():
            told = functools.partial(lambda name, **given: called.append(name), name)
            stack.enter_context(mock.patch.object(inner, "callback", told))
        result = CliRunner().invoke(benchmarks, command.words[3:])
    assert result.exit_code == 0, result.output
    assert called == [command.words[3]]


def test_help_and_doctor_answer():
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
    result = CliRunner().invoke(main, ["doctor"])
    # 1 is a verdict on this machine, not on the command.
    assert result.exit_code in (0, 1)
    assert "encoder weights" in result.output


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_blocks_compile_and_import_what_exists(page, code):
    for node in ast.walk(ast.parse(code, page)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names), page


@pytest.mark.parametrize(("page", "script"), blocks("sh"))
def test_scripts_are_a_shell_s_and_all_their_debut_commands_are_looked_at(page, script, tmp_path):
    file = tmp_path / "shown.sh"
    file.write_text(script)
    subprocess.run(["sh", "-n", file], check=True)
    looked_at = [command for command in documented_commands("debut") if command.page == page]
    assert script.count("debut ") == sum(command.text in script for command in looked_at)


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_yaml_blocks_are_valid_configurations(page, text, tmp_path):
    file = tmp_path / "shown.yaml"
    file.write_text(text)
    load_configuration(file)


@pytest.mark.parametrize(("page", "text"), blocks("yml"))
def test_yml_blocks_are_valid_rules(page, text, tmp_path):
    file = tmp_path / "shown.yaml"
    file.write_text(text)
    read_rules(file)
