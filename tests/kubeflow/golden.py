"""What the golden file keeps of a compiled pipeline; `python -m tests.kubeflow.golden` writes it.

Everything that makes the graph, the containers and the cluster's part. Parameters that are JSON,
the definitions that containers are given once more, and schemas of artifact types beside their
title are left out, and digests of files: they say the same again, or change with every option of
training and every edit.
"""

import re
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parent / "pipeline.golden.yaml"
_DIGEST = re.compile("[0-9a-f]{64}")


def kept(documents: list[dict[str, Any]]) -> str:
    """Text of the golden file for the documents of a compiled pipeline."""
    return yaml.safe_dump_all(
        [_shortened(document) for document in documents],
        sort_keys=True,
        width=100,
        default_flow_style=None,
    )


def default_pipeline() -> list[dict[str, Any]]:
    """The documents of the default configuration."""
    from pipeline.config import load_configuration
    from pipeline.kubeflow.compiling import compile_pipeline

    return list(yaml.safe_load_all(compile_pipeline(load_configuration(), "kubeflow")))


def _shortened(value: Any, key: str = "") -> Any:
    match value:
        case dict():
            return {name: _shortened(inner, name) for name, inner in value.items()}
        case list() if "--json_serialized_inputs_spec_args" in value:
            place = value.index("--json_serialized_inputs_spec_args") + 1
            return [*value[:place], "JSON", *value[place + 1 :]]
        case list():
            return [_shortened(inner) for inner in value]
        case str() if key == "instanceSchema":
            return f"{value.splitlines()[0]}, ..."
        case str() if key == "constant" and value.startswith(("{", "[")):
            return "JSON"
        case str() if key == "constant" and _DIGEST.fullmatch(value):
            return "DIGEST"
    return value


if __name__ == "__main__":
    FILE.write_text(kept(default_pipeline()), encoding="utf-8")
