"""Reads a file of rules, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from models.errors import BadInput
from models.rules.form import Rules


class _Loader(yaml.BaseLoader):
    """Takes every value for a text, so that ids keep their leading zeros, and each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(
                    f"line {key.start_mark.line + 1} says {key.value!r} a second time; put what "
                    "belongs to it together"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_rules(file: Path) -> Rules:
    """Read a file of rules.

    Raises:
        BadInput: it can't be read, or a rule is not one; names the place.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"The rules {file} can't be read ({error}). Give a YAML file.") from error
    if not isinstance(content, dict):
        raise BadInput(f"The rules {file} must hold sections such as 'block:'.")
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"The rules {file} are not valid. {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    problems = []
    for fault in error.errors():
        place, value = ".".join(map(str, fault["loc"])), fault["input"]
        shown = place if isinstance(value, dict | list | tuple) else f"{place} is {value!r}"
        message = f"{fault['msg'].removeprefix('Value error, ')}."
        problems.append(f"{shown}: {message}" if shown else message)
    return " ".join(problems)
