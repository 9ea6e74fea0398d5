"""`make help` lists every target that a person calls, and is what plain `make` does."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# `make test` hands its own flags on to every make under it.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
LANES = {
    f"test-{lane}"
    for lane in ("devices", "encoders", "portable", "flink", "kubeflow", "containers", "kfp")
}
TARGETS = {"run", "test", "check", "serve", "bench", "clean", "help"} | LANES


def make(*arguments: str) -> str:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=PLAIN,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_help_lists_every_target_with_what_it_does() -> None:
    listed = dict(re.findall(r"^  make ([\w-]+) +(\S.*)$", make("help"), re.MULTILINE))
    assert set(listed) == TARGETS
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(" ".join(phony).split()) == TARGETS


def test_plain_make_shows_help() -> None:
    assert make() == make("help")


FAILING = """
check:
\t@echo checked; false
test-portable test-kubeflow:
\t@echo $@; false
test:
\t@echo tested with $$(prometheus)
"""


def run_ci(
    folder: Path, targets: str = FAILING, **programs: str
) -> subprocess.CompletedProcess[str]:
    """`.ci/run` on a Makefile of its own, where nothing is installed but these shell scripts."""
    (folder / ".ci").mkdir()
    script = folder / ".ci" / "run"
    script.write_bytes((ROOT / ".ci" / "run").read_bytes())
    (folder / "Makefile").write_text(targets)
    installed = folder / "bin"
    installed.mkdir()
    for name in ("chmod", "dirname", "id", "make", "mkdir", "mktemp", "rm", "sh", "timeout"):
        (installed / name).symlink_to(str(shutil.which(name)))
    for name, text in programs.items():
        (installed / name).write_text(f"#!/bin/sh\n{text}\n")
        (installed / name).chmod(0o755)
    return subprocess.run(
        [str(shutil.which("bash")), script],
        env=PLAIN | {"PATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_ci_runs_everything_even_where_something_before_fails(tmp_path: Path) -> None:
    result = run_ci(tmp_path, prometheus="echo 1")
    assert result.returncode != 0
    assert result.stdout == "checked\ntest-portable\ntest-kubeflow\ntested with 1\n"


@pytest.mark.parametrize("failing", ["check", "test-portable", "test-kubeflow", "test", None])
def test_ci_fails_where_any_part_fails(tmp_path: Path, failing: str | None) -> None:
    parts = "check test-portable test-kubeflow test"
    result = run_ci(tmp_path, targets=f"{parts}:\n\t@[ $@ != {failing} ]\n")
    assert (result.returncode == 0) == (failing is None)


def test_ci_unpacks_prometheus_where_apt_has_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    apt = "case $* in *download*) : >prometheus_2_amd64.deb ;; esac"
    program = "echo 'echo 2' >usr/bin/prometheus; chmod +x usr/bin/prometheus"
    unpack = f'[ "$1" = -x ] && [ -f "$2" ] && mkdir -p usr/bin && {{ {program}; pwd; }}'
    unpack += f" >{tmp_path}/where"
    result = run_ci(tmp_path, **{"apt-get": apt, "dpkg-deb": unpack})
    assert result.stdout.endswith("tested with 2\n")
    unpacked = Path((tmp_path / "where").read_text().strip())
    assert unpacked.is_absolute() and not unpacked.exists()


def test_ci_unpacks_chromium_with_what_it_needs_and_starts_it_from_there(tmp_path: Path) -> None:
    apt = """case $* in
      *-s*install*chromium*) echo 'Inst liba (1 Debian)'; echo 'Inst chromium-headless-shell (2)' ;;
      *download*) shift 2; for name; do : >"${name}_1.deb"; done ;;
    esac"""
    browser = "usr/lib/chromium/chromium-headless-shell"
    unpack = f"""case $2 in
      liba*) mkdir -p usr/lib/x86_64-linux-gnu; echo a >usr/lib/x86_64-linux-gnu/liba ;;
      chromium*) mkdir -p usr/lib/chromium usr/bin; : >usr/bin/chromium-headless-shell
        echo 'echo "$1 $(cat "${{LD_LIBRARY_PATH%%:*}}/liba")"' >{browser}
        chmod +x {browser} usr/bin/chromium-headless-shell ;;
    esac"""
    awk = "while read -r word name rest; do echo $name; done"
    cat = "read -r a <$1; echo $a"
    result = run_ci(
        tmp_path, **{"apt-get": apt, "dpkg-deb": unpack, "awk": awk, "cat": cat},
        prometheus="chromium-headless-shell shows",
    )  # fmt: skip
    assert result.stdout.endswith("tested with shows a\n"), result.stderr


def test_ci_goes_on_where_apt_has_no_prometheus(tmp_path: Path) -> None:
    result = run_ci(tmp_path, **{"apt-get": "echo no such package >&2; exit 100"})
    assert result.stdout.startswith("checked")
    assert result.stdout.endswith("tested with\n")
    assert "no such package" not in result.stderr
