"""Reads a file of rules, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from models.errors import BadInput
from models.faults import explain
from models.rules.form import Rules
from models.yaml_once import load_texts


def read_rules(file: Path) -> Rules:
    """Read a file of rules.

    Raises:
        BadInput: it can't be read, or a rule is not one; names the place.
    """
    try:
        content = load_texts(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"The rules {file} can't be read ({error}). Give a YAML file.") from error
    if not isinstance(content, dict):
        raise BadInput(f"The rules {file} must hold sections such as 'block:'.")
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        raise BadInput(f"The rules {file} are not valid. {explain(error)}") from error
