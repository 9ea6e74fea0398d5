"""scripts/bootstrap says what a machine lacks before it downloads or makes anything."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = [
    "awk",
    "date",
    "df",
    "dirname",
    "flock",
    "grep",
    "head",
    "ls",
    "mktemp",
    "rm",
    "sed",
    "touch",
]
REAL_PYTHON = Path(sys.base_prefix, "bin", "python3.10")

Result = subprocess.CompletedProcess[str]
Machine = Callable[..., Result]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH of ordinary tools, without Python and compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture
def bootstrap(tmp_path: Path, bin_folder: Path) -> Machine:
    """Runs a copy of the script on a machine that has `bin_folder` and the given variables only."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    for name in ("scripts/bootstrap", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, clone / name)

    def run(**variables: str) -> Result:
        environment = {"PATH": str(bin_folder), "HOME": str(tmp_path), **variables}
        before = sorted(clone.glob(".venv/**"))
        result = subprocess.run(
            ["/bin/sh", clone / "scripts" / "bootstrap"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert sorted(clone.glob(".venv/**")) == before
        return result

    return run


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def pyenv_with(python: Path, root: Path) -> Path:
    """A pyenv root that has `python` among its versions."""
    folder = root / "versions" / "3.10.99" / "bin"
    folder.mkdir(parents=True)
    executable(folder / "python3.10", f'#!/bin/sh\nexec "{python}" "$@"\n')
    return root


def test_without_python_it_says_how_to_install_one(bootstrap: Machine) -> None:
    result = bootstrap()
    assert result.returncode == 1
    assert "no Python 3.10 found" in result.stderr
    for remedy in ("apt-get install python3.10", "uv python install 3.10", "pyenv install 3.10"):
        assert remedy in result.stderr


def test_a_pyenv_shim_that_does_not_run_is_no_python(bootstrap: Machine, bin_folder: Path) -> None:
    executable(bin_folder / "python3.10", "#!/bin/sh\necho 'pyenv: not found' >&2\nexit 127\n")
    assert "no Python 3.10 found" in bootstrap().stderr


def test_another_version_under_the_name_is_no_python(bootstrap: Machine, bin_folder: Path) -> None:
    executable(bin_folder / "python3.10", "#!/bin/sh\necho 3.12\n")
    assert "no Python 3.10 found" in bootstrap().stderr


def test_a_named_interpreter_that_does_not_run_is_refused_by_name(bootstrap: Machine) -> None:
    result = bootstrap(PYTHON="/nowhere/python3.10")
    assert result.returncode == 1
    assert "PYTHON=/nowhere/python3.10" in result.stderr


@pytest.mark.parametrize("where", ["named", "path", "pyenv", "home"])
def test_python_is_found_and_a_missing_compiler_named(
    where: str, bootstrap: Machine, bin_folder: Path, tmp_path: Path
) -> None:
    variables = {}
    if where == "named":
        variables["PYTHON"] = str(REAL_PYTHON)
    elif where == "path":
        (bin_folder / "python3.10").symlink_to(REAL_PYTHON)
    elif where == "pyenv":
        variables["PYENV_ROOT"] = str(pyenv_with(REAL_PYTHON, tmp_path / "pyenv"))
    else:
        pyenv_with(REAL_PYTHON, tmp_path / ".pyenv")
    result = bootstrap(**variables)
    assert result.returncode == 1
    assert "no C++ compiler found" in result.stderr
    assert "apt-get install g++" in result.stderr


def test_missing_headers_are_named(bootstrap: Machine, bin_folder: Path, tmp_path: Path) -> None:
    executable(bin_folder / "g++", "#!/bin/sh\n")
    real_include = sysconfig.get_paths()["include"]
    assert os.path.exists(os.path.join(real_include, "Python.h"))
    bare = tmp_path / "python"
    answer = f'case "$2" in *include*) echo "{tmp_path}";; *) exec "{REAL_PYTHON}" "$@";; esac'
    executable(bare, f"#!/bin/sh\n{answer}\n")
    result = bootstrap(PYTHON=str(bare))
    assert result.returncode == 1
    assert f"{tmp_path}/Python.h is missing" in result.stderr
    assert "python3.10-dev" in result.stderr


def test_a_full_disk_is_named_before_the_download(bootstrap: Machine, bin_folder: Path) -> None:
    executable(bin_folder / "g++", "#!/bin/sh\n")
    (bin_folder / "df").unlink()
    executable(bin_folder / "df", "#!/bin/sh\nprintf 'head\\ndisk 9999 9800 199 98%% /\\n'\n")
    result = bootstrap(PYTHON=str(REAL_PYTHON))
    assert result.returncode == 1
    assert "199 MB free" in result.stderr


def test_what_another_one_has_finished_meanwhile_is_left_alone(
    bootstrap: Machine, bin_folder: Path, tmp_path: Path
) -> None:
    executable(bin_folder / "g++", "#!/bin/sh\n")
    (tmp_path / "clone" / ".venv").mkdir()
    (tmp_path / "clone" / ".venv" / ".ready").touch()
    result = bootstrap(PYTHON=str(REAL_PYTHON))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
