"""The console that results go to: as wide as the terminal, or 100 columns where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.garbage import seldom_collected


def open_console() -> Console:
    """A console on stdout that takes brackets in ids and titles for what they are."""
    width = None if sys.stdout.isatty() else 100
    return Console(width=width, markup=False, highlight=False)


@contextmanager
def loading(libraries: str, console: Console) -> Iterator[None]:
    """Tell that libraries are loaded meanwhile, and look for no garbage among them."""
    with console.status(f"Loading {libraries}"), seldom_collected():
        yield


def new_table(*columns: str, numbers_from: int = 1) -> Table:
    """A table whose columns from `numbers_from` on hold numbers."""
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="right" if number >= numbers_from else "left", overflow="fold"
        )
    return table


def metric_words(name: str) -> str:
    """A metric's name as it stands in a table: `recall@20 ips` for `recall_at_20_ips`."""
    return name.replace("_", " ").replace(" at ", "@")


def print_table(console: Console, title: str, table: Table) -> None:
    """Prints a table under its title; rich's own titles are as narrow as their table."""
    console.print(Text(title, style="bold"))
    console.print(table)
