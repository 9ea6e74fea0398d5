"""`make help` lists every target that a person calls, and is what plain `make` does."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# `make test` hands its own flags on to every make under it.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
TARGETS = {"run", "test", "check", "serve", "bench", "clean", "help"}


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
    listed = dict(re.findall(r"^  make (\w+) +(\S.*)$", make("help"), re.MULTILINE))
    assert set(listed) == TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == TARGETS


def test_plain_make_shows_help() -> None:
    assert make() == make("help")


def test_ci_runs_the_checks_and_the_tests_even_where_the_first_fails(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "run"
    script.write_bytes((ROOT / ".ci" / "run").read_bytes())
    (tmp_path / "Makefile").write_text("check:\n\t@echo checked; false\ntest:\n\t@echo tested\n")
    result = subprocess.run(
        ["bash", script], env=PLAIN, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    assert "checked" in result.stdout
    assert result.stdout.endswith("tested\n")
