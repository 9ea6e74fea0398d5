"""The tables of the reference say what the code says."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import tensorflow as tf
import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen

import components.ingestion
from benchmarks.cli import benchmarks
from components.ingestion.folder import REQUIRED_COLUMNS
from models.export import served
from pipeline.config import DEFAULT_FILE, Configuration
from pipeline.evaluation import GROUP_SLICES, SLICES, SPAN_SLICES, evaluation_metrics
from pipeline.pipeline import Fingerprints, Places, create_pipeline
from serving import flags
from tests.docs.pages import ROOT, blocks, commands, documented_signatures, table

CONFIGURATION = "docs/reference/configuration.md"
COMMANDS = "docs/reference/command-line.md"
# Defaults that depend on the machine.
OF_CORES = {
    "rest_api_num_threads": "4 × cores",
    "grpc_max_threads": "4 × cores",
    "num_tflite_pools": "cores",
}


def defaults():
    return yaml.safe_load(DEFAULT_FILE.read_text())


def options():
    """Full name to (default, allowed values), as the tables show them."""
    return {
        f"{section}.{option}": (_default(value), _allowed(section, option))
        for section, values in defaults().items()
        for option, value in values.items()
    }


def _default(value):
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "below"
    # A real number that YAML and JSON write alike; 2e-05 is not what a person would write.
    plain = f"{value:.5f}".rstrip("0") if isinstance(value, float) and value < 1e-3 else None
    return f"`{json.dumps(value) if plain is None or value == 0 else plain}`"


def _allowed(section, option):
    options: Any = Configuration.model_fields[section].annotation
    field = options.model_fields[option]
    if choices := [c for c in get_args(field.annotation) if isinstance(c, str)]:
        return ", ".join(f"`{choice}`" for choice in choices)
    low, high = "", ""
    for rule in field.metadata:
        match rule:
            case Ge(ge):
                low = f"≥ {_plain(ge)}"
            case Gt(gt):
                low = f"> {_plain(gt)}"
            case Le(le):
                high = f"≤ {_plain(le)}"
            case Lt(lt):
                high = f"< {_plain(lt)}"
            case MinLen():
                low = "not empty"
    return ", ".join(filter(None, (low, high)))


def _plain(bound):
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def test_the_configuration_tables_hold_every_option_its_default_and_its_range():
    stated = {
        row["option"].strip("`"): (row["default"], row["allowed"])
        for row in table(CONFIGURATION, "option")
    }
    assert stated == options()


def test_the_default_gates_are_shown_as_they_are():
    [shown] = [text for page, text in blocks("yaml") if page == CONFIGURATION and "metric" in text]
    assert yaml.safe_load(shown)["gates"]["model"] == defaults()["gates"]["model"]


def test_the_signature_table_is_the_model_s():
    """`signatures` runs on methods that do nothing, with a tracer that only keeps the specs."""

    def trace(_, autograph):
        return SimpleNamespace(get_concrete_function=lambda **specs: specs)

    with mock.patch.object(tf, "function", trace):
        actual = served.ServedModel.signatures(mock.Mock(spec=served.ServedModel))
    stated = documented_signatures()
    assert set(stated) == set(actual)
    for name, specs in actual.items():
        inputs, _ = stated[name]
        assert list(inputs) == list(specs), name
        for key, spec in specs.items():
            dtype, shape = inputs[key].split(" ")[:2]
            rank = len([size for size in shape.strip("[]").split(",") if size])
            assert (dtype, rank) == (spec.dtype.name, spec.shape.rank), f"{name}.{key}"


def test_the_flags_table_is_the_server_s():
    def default(flag):
        if flag.name in OF_CORES:
            return OF_CORES[flag.name]
        text = str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)
        return f"`{text}`" if text else ""

    stated = {
        row["flag"].strip("`").removeprefix("--"): (row["default"], row["here"])
        for row in table("docs/reference/model-server.md", "flag")
    }
    assert stated == {flag.name: (default(flag), flag.support.name.lower()) for flag in flags.FLAGS}
    cores = flags.CPUS
    numbers = {"4 × cores": 4 * cores, "cores": cores}
    assert {flag.name: flag.default for flag in flags.FLAGS if flag.name in OF_CORES} == {
        name: numbers[text] for name, text in OF_CORES.items()
    }


def test_the_quarantine_table_holds_every_reason():
    folder = Path(components.ingestion.__file__).parent
    reasons = {
        node.value.value
        for file in ("rows.py", "text.py")
        for node in ast.parse((folder / file).read_text()).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    stated = [row["reason"] for row in table("docs/reference/data-folder.md", "reason")]
    assert sorted(stated) == sorted(reasons)


def test_the_data_folder_s_required_columns_are_stated():
    stated = {
        row["file"].strip("`"): tuple(row["required columns"].replace("`", "").split(", "))
        for row in table("docs/reference/data-folder.md", "file")
    }
    assert stated == REQUIRED_COLUMNS


def test_the_commands_table_holds_every_command_and_option():
    stated = {
        row["command"].strip("`").removeprefix("debut ") for row in table(COMMANDS, "command")
    }
    assert stated == set(commands())
    text = (ROOT / COMMANDS).read_text()
    for command in commands().values():
        for parameter in command.params:
            assert f"`{parameter.opts[0]}" in text, f"{command.name} {parameter.opts[0]}"


def test_the_benchmarks_table_holds_every_benchmark_and_options_that_it_has():
    stated = {
        row["benchmark"].strip("`"): re.findall(r"`(--[a-z-]+)`", row["main options"])
        for row in table(COMMANDS, "benchmark")
    }
    assert set(stated) == set(benchmarks.commands)
    for name, shown in stated.items():
        known = {option for given in benchmarks.commands[name].params for option in given.opts}
        assert shown and set(shown) <= known, name


def test_the_gate_metrics_and_slices_are_stated():
    page = "docs/concepts/splits-and-gates.md"
    assert {row["slice"].strip("`") for row in table(page, "slice")} == set(
        SLICES | SPAN_SLICES | GROUP_SLICES
    )
    stated = {row["metric"].strip("`") for row in table(page, "metric")}
    assert stated == {name.replace("_10", "_K").replace("_20", "_K").replace("_50", "_K")
                      for name in evaluation_metrics()}  # fmt: skip


def test_the_artifacts_table_holds_every_node_and_its_outputs(tmp_path):
    from ml_metadata.proto import metadata_store_pb2

    pipeline = create_pipeline(
        Configuration.model_validate(defaults()),
        data=str(tmp_path),
        fingerprints=Fingerprints(data="", encoder=""),
        places=Places(str(tmp_path), str(tmp_path), metadata_store_pb2.ConnectionConfig()),
    )
    stated = {
        row["node"].strip("`"): set(re.findall(r"`(\w+)`", row["writes"]))
        for row in table("docs/reference/artifacts.md", "node")
    }
    assert set(stated) == {node.id for node in pipeline.components}
    for node in pipeline.components:
        keys = {"transformed_examples", *node.outputs.keys()}
        assert keys & stated[node.id] == set(node.outputs.keys()), node.id
