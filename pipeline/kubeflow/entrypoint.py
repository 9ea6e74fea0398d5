"""`python -m pipeline.kubeflow.entrypoint`: what each container of a compiled pipeline runs.

It takes the arguments that TFX's compiler writes, prepares them (`pipeline.kubeflow.invocation`),
and hands over to TFX's entry point. TFX's compiler gives a driver of ExampleGen to
`lifecycle.preCacheCheck`, which open-source Kubeflow never runs, and knows no other driver
(tfx#6722); Debut's ExampleGen has none and reads the spans of its folder when it runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from absl import logging as absl_logging
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

from components.beam_workers import prepare_workers

# Registers the metrics that Evaluator's config names; locally the graph's own import does.
from models import metrics as metrics
from pipeline.error_text import describe
from pipeline.kubeflow.invocation import Json, from_executor, to_executor

_INVOCATION: Final = "--json_serialized_invocation_args"
_DEFINITIONS: Final = "--json_serialized_inputs_spec_args"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one executor.

    Returns:
        The exit code: that of the error's class where one of ours stopped it, else 1 or 0.
    """
    parser = argparse.ArgumentParser(description="Runs the executor of one task.")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument(_INVOCATION, required=True, type=json.loads)
    parser.add_argument(_DEFINITIONS, required=True, type=json.loads)
    given, beam_args = parser.parse_known_args(arguments)
    absl_logging.use_absl_handler()
    definitions: Json = given.json_serialized_inputs_spec_args
    prepared = to_executor(given.json_serialized_invocation_args, definitions)
    try:
        _run(given.executor_class_path, prepared, definitions, beam_args)
    except Exception as error:
        # The log of a task is all that there is to look at: the traceback first, the remedy last.
        logging.exception("The task ended here")
        code, text = describe(error, "The traceback stands above.")
        print(text, file=sys.stderr)
        return code
    return 0


def _run(executor: str, invocation: Json, definitions: Json, beam_args: list[str]) -> None:
    prepare_workers(beam_args)
    for artifact in _outputs(invocation):
        Path(artifact["uri"]).mkdir(parents=True, exist_ok=True)
    kubeflow_v2_run_executor.main(
        (
            argparse.Namespace(
                executor_class_path=executor,
                json_serialized_invocation_args=json.dumps(invocation),
                json_serialized_inputs_spec_args=json.dumps(definitions),
            ),
            beam_args,
        )
    )
    file = Path(invocation["outputs"]["outputFile"])
    told = from_executor(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(told), encoding="utf-8")


def _outputs(invocation: Json) -> list[Json]:
    return [
        artifact
        for found in invocation["outputs"]["artifacts"].values()
        for artifact in found["artifacts"]
    ]


if __name__ == "__main__":
    sys.exit(main())
