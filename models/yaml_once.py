"""Reads YAML in which each key stands once: the first of two alike would silently be lost."""

from __future__ import annotations

from typing import Any

import yaml


class _Once(yaml.composer.Composer):
    """Refuses a mapping that names a key twice, before anything is merged into it."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.YAMLError(
                    f"line {key.start_mark.line + 1} says {key.value!r} a second time; put what "
                    "belongs to it together"
                )
            seen.add(key.value)
        return node


class _Texts(_Once, yaml.BaseLoader):
    pass


class _Values(_Once, yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # as of a day that no calendar has
            raise yaml.YAMLError(
                f"line {node.start_mark.line + 1}: {error}; put quotes around what is a text"
            ) from error


def load_texts(text: str) -> Any:
    """Read YAML, and take every value for a text, so that ids keep their leading zeros.

    Raises:
        YAMLError: it is none, or names a key twice.
    """
    return _load(text, _Texts)


def load_values(text: str) -> Any:
    """Read YAML with its numbers, truth values, dates and nulls.

    Raises:
        YAMLError: it is none, names a key twice, or holds a date that no calendar has.
    """
    return _load(text, _Values)


def _load(text: str, loader: type[_Texts | _Values]) -> Any:
    try:
        return yaml.load(text, Loader=loader)
    except RecursionError as error:
        raise yaml.YAMLError("what it holds is nested too deep to be read") from error
