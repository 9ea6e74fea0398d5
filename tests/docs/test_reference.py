"""The tables of the reference say what the code says."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args
from unittest import mock

import click
import pytest
import tensorflow as tf
import yaml
from annotated_types import Ge, Gt, Le, Lt, MinLen

import components.ingestion
from benchmarks.cli import benchmarks
from components.ingestion.folder import REQUIRED_COLUMNS
from models.errors import DebutError, Unreachable
from models.export import served
from pipeline.config import DEFAULT_FILE, Configuration
from pipeline.error_text import INTERRUPTED
from pipeline.evaluation import GROUP_SLICES, SLICES, SPAN_SLICES, evaluation_metrics
from pipeline.pipeline import Fingerprints, Places, create_pipeline
from serving import flags
from tests.docs.pages import (
    blocks,
    commands,
    documented_signatures,
    name,
    pages,
    rows,
    section,
    table,
)
from tests.signatures import CONTRACT

CONFIGURATION = "docs/reference/configuration.md"
COMMANDS = "docs/reference/command-line.md"
# Options that a section of the command line names together.
ALIKE = {
    "TLS": {"--tls-ca", "--tls-cert", "--tls-key"},
    "TLS and token options": {"--token-file"},
}
# Defaults that are a way to find one.
IN_WORDS = {("run", "--data"): "the sample", ("compile", "--data"): "the sample in the image"}
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
    for signature, specs in actual.items():
        inputs, _ = stated[signature]
        assert list(inputs) == list(specs), signature
        for key, spec in specs.items():
            assert _tensor(inputs[key]) == (spec.dtype.name, spec.shape.rank), (signature, key)


def test_the_signature_table_is_what_clients_rely_on():
    """Whole runs hold the model that they push to the same contract."""
    stated = documented_signatures()
    assert set(stated) == set(CONTRACT)
    for signature, both in CONTRACT.items():
        for shown, tensors in zip(stated[signature], both, strict=True):
            assert {key: _tensor(text) for key, text in shown.items()} == {
                key: (dtype.name, rank) for key, (dtype, rank) in tensors.items()
            }, signature


def _tensor(stated):
    """Dtype and rank of a tensor as a table states it, such as "float32 [B,k]"."""
    dtype, shape = stated.split(" ")[:2]
    return dtype, len([size for size in shape.strip("[]").split(",") if size])


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


def test_the_commands_table_holds_every_command():
    stated = [
        row["command"].strip("`").removeprefix("debut ") for row in table(COMMANDS, "command")
    ]
    assert sorted(stated) == sorted(commands())


@pytest.mark.parametrize("command", commands())
def test_the_section_of_a_command_holds_its_options_and_their_defaults(command):
    text = section(COMMANDS, f"`debut {command}`")
    stated = {
        next(iter(row.values())).strip("`").split()[0]: row["default"].strip("`")
        for column in ("option", "argument or option")
        for row in rows(text, column)
    }
    mentioned = set(re.findall(r"`(--?[a-z][a-z-]*)[ `]", text)) | stated.keys()
    for words, meant in ALIKE.items():
        mentioned |= meant if words in text else set()
    given = {parameter.opts[0]: parameter for parameter in commands()[command].params}
    del given["--debug"]
    assert mentioned == given.keys()
    assert stated == {
        option: IN_WORDS.get((command, option), _shown(given[option])) for option in stated
    }
    # "As above": what no table has is as the first command has it that asks a server.
    first = {parameter.opts[0]: _shown(parameter) for parameter in commands()["recommend"].params}
    for option in given.keys() - stated.keys():
        shown = _shown(given[option])
        assert shown in (first.get(option, ""), "required"), option
        assert shown != "required" or first.get(option) == shown or "required" in text, option


def _shown(parameter):
    """The default as a table shows it."""
    if parameter.required:
        return "required"
    match parameter.get_default(click.Context(click.Command("shown"))):
        case [one]:
            return str(one)
        case str() | int() as one if not isinstance(one, bool):
            return str(one)
    return ""


def test_the_exit_codes_are_those_of_the_errors():
    codes = {0, INTERRUPTED, DebutError.exit_code}
    codes |= {error.exit_code for error in DebutError.__subclasses__()}
    assert [int(row["code"]) for row in table(COMMANDS, "code")] == sorted(codes)
    of_runs = {int(row["code"]) for row in table("docs/how-to/run-in-ci.md", "code")}
    assert of_runs == codes - {Unreachable.exit_code}
    for page in map(name, pages()):
        assert {int(row["exit code"]) for row in table(page, "exit code")} <= codes, page


def test_the_benchmarks_table_holds_every_benchmark_and_options_that_it_has():
    stated = {
        row["benchmark"].strip("`"): re.findall(r"`(--[a-z-]+)`", row["main options"])
        for row in table(COMMANDS, "benchmark")
    }
    assert set(stated) == set(benchmarks.commands)
    for benchmark, shown in stated.items():
        options = benchmarks.commands[benchmark].params
        assert shown and set(shown) <= {option for given in options for option in given.opts}


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
