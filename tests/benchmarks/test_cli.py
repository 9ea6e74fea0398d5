"""Every benchmark fails as `debut` does: one paragraph, and an exit code that tells why."""

import pytest
from click.testing import CliRunner

from benchmarks.cli import benchmarks


def reading(option):
    """Benchmarks that read a folder which this option names."""
    return sorted(
        name
        for name, command in benchmarks.commands.items()
        if any(option in given.opts for given in command.params)
    )


ROOTS = sorted(set(reading("--root")) - set(reading("--data")) - {"console"})  # it wants Chromium
DATA = sorted(set(reading("--data")) - {"wording"})  # it reads the root first


def test_there_are_such_benchmarks():
    assert {"index", "serving", "trust"} <= set(ROOTS)
    assert {"ablation", "languages", "small"} <= set(DATA)


@pytest.mark.parametrize("name", ROOTS)
def test_a_root_without_a_version_is_bad_input(name, tmp_path):
    result = CliRunner().invoke(benchmarks, [name, "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: No version was pushed") and "--root" in result.stderr


@pytest.mark.parametrize("name", DATA)
def test_a_data_folder_that_is_not_there_is_bad_input(name, tmp_path):
    missing = tmp_path / "missing"
    result = CliRunner().invoke(benchmarks, [name, "--data", str(missing)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: The data folder {missing} does not exist")


def test_what_went_wrong_inside_is_shown_where_it_is_asked_for(tmp_path):
    result = CliRunner().invoke(benchmarks, ["trust", "--root", str(tmp_path), "--debug"])
    assert result.exit_code == 2 and "Traceback" in result.stderr
