"""The output that the README shows is what the programs print, as far as their words go."""

import ast
import re

import pytest

from tests.docs.pages import ROOT

_SHOWN = re.compile(r"<!-- output: make run -->\n```text\n(.*?)```", re.DOTALL)


def words_of(file, *functions):
    """What the f-strings and table headers of some functions of a file print for every value."""
    for function in ast.parse((ROOT / file).read_text()).body:
        if isinstance(function, ast.FunctionDef) and function.name in functions:
            for node in ast.walk(function):
                parts: list[ast.expr] = []
                if isinstance(node, ast.JoinedStr):
                    parts = node.values
                elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "new_table":
                    parts = node.args
                for part in parts:
                    if isinstance(part, ast.Constant):
                        yield str(part.value).strip()


DEMO = sorted(
    {word for word in words_of("pipeline/demo.py", "demo", "_show") if re.search("[a-z]{2}", word)}
)


def test_the_demo_prints_something_that_is_looked_for():
    assert {"really bought", "Serve the model:", "serve --root"} <= set(DEMO)


@pytest.mark.parametrize("word", DEMO)
def test_the_readme_shows_what_the_demo_prints(word):
    [shown] = _SHOWN.findall((ROOT / "README.md").read_text())
    assert word in " ".join(shown.split())
