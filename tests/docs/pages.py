"""The documentation as data: its pages, commands, code blocks, tables and links.

`documented_commands()` is what other tests run for real; a command that no fence of the kind
`console` shows is not seen by anybody.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from pipeline.cli import main

ROOT = Path(__file__).parents[2]
PROMPT = "$ "

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Command:
    """A command line that a page shows, split as a shell would."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    @property
    def program(self) -> str:
        return self.words[0]


def pages() -> list[Path]:
    """Everything a reader of the documentation may open."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, content) of every fence of a language."""
    return [
        (name(page), content)
        for page in pages()
        for kind, content in _FENCE.findall(page.read_text(encoding="utf-8"))
        if kind == language
    ]


def commands() -> dict[str, click.Command]:
    """Every command of `debut` by its words, such as "run" or "items add"."""
    found: dict[str, click.Command] = {}
    for name_, command in main.commands.items():
        if isinstance(command, click.Group):
            found |= {f"{name_} {inner}": leaf for inner, leaf in command.commands.items()}
        else:
            found[name_] = command
    return found


def documented_commands(program: str | None = None) -> list[Command]:
    """The lines after a prompt in `console` fences, continued lines joined, and `debut`'s in `sh`.

    Args:
        program: only commands of that program, such as "debut" or "make".
    """
    found = [
        Command(page, line.removeprefix(PROMPT))
        for page, content in blocks("console")
        for line in content.replace("\\\n", " ").splitlines()
        if line.startswith(PROMPT)
    ]
    found += [
        Command(page, line.partition(" || ")[0])
        for page, content in blocks("sh")
        for line in content.splitlines()
        if line.startswith("debut ")
    ]
    return [command for command in found if program in (None, command.program)]


def documented_signatures() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Signature to (inputs, outputs), each name to "dtype [shape]" as the reference states it."""
    return {
        row["signature"].strip("`"): (_tensors(row["inputs"]), _tensors(row["outputs"]))
        for row in table("docs/reference/served-model.md", "signature")
    }


def table(page: str, first_column: str) -> list[dict[str, str]]:
    """The rows of all tables of a page whose first column has that header."""
    return rows((ROOT / page).read_text(encoding="utf-8"), first_column)


def rows(text: str, first_column: str) -> list[dict[str, str]]:
    """The rows of all tables of a text whose first column has that header."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]
        if not header:
            header = cells
        elif header[0] == first_column and not set(line) <= set("|-: "):
            found.append(dict(zip(header, cells, strict=True)))
    return found


def section(page: str, heading: str) -> str:
    """What stands under a heading of the second level, its fences left out."""
    text = _FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    [found] = [part for part in text.split("\n## ") if part.split("\n", 1)[0] == heading]
    return found


def links(page: Path) -> Iterator[str]:
    """Targets of the links and images of a page, fences left out."""
    for linked, shown in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        yield linked or shown


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


def _tensors(cell: str) -> dict[str, str]:
    return dict(re.findall(r"`(\w+)` ([^·]+?)(?: *·|$)", cell))
