import contextlib
import csv
import dataclasses
import gzip
import io
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from concurrent import futures
from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

import pipeline.report
import pipeline.runner
from components.ingestion.summary import FileCounts, IngestionSummary, QuarantineReason
from models.errors import BadInput, DebutError, Refused, Unreachable
from models.record import CurvePoint, FineTuned, TrainingRecord
from models.rules import RuleCount, Rules
from pipeline import demo
from pipeline.cli import main
from pipeline.commands import asking
from pipeline.commands.summary import print_summary
from pipeline.commands.terminal import open_console
from pipeline.config import load_configuration
from pipeline.error_text import describe
from pipeline.kubeflow import compiling
from pipeline.layout import SAMPLE, serving_folder
from pipeline.lock import alone
from pipeline.outcome import GateDecision, Outcome
from serving.answers import Ranking
from serving.client import Client
from serving.ports import free_port
from serving.version_labels import STABLE, config_file, write_labels
from tests.serving import saved_models

# What people's scripts rely on; a command that is renamed or gone breaks them.
CONTRACT = """
audience, compile, console, doctor, explain, explore, feedback, feedback export, index,
index export, items, items add, items refresh, items remove, label-plan, promote, recommend,
rollback, run, score, serve, versions
"""


def _commands(group, path=()):
    """Words of each command below a group."""
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


COMMANDS = tuple(_commands(main))
# As on a user's terminal: the tests' own quiet is not there.
ENVIRONMENT = {name: value for name, value in os.environ.items() if "LOG_LEVEL" not in name}


def debut(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def shell(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )


def write_table(folder, name, *lines):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))


def assert_one_paragraph(result, code):
    assert result.exit_code == code, result.output
    assert re.fullmatch(r"Error: [^\n]+[.\])]\n", result.stderr), result.stderr


# Help


@pytest.mark.parametrize("command", [(), *COMMANDS])
def test_help_shows_an_example_of_the_command(command):
    result = debut(*command, "--help")
    assert result.exit_code == 0
    examples = result.output.split("Example", 1)[1]
    assert re.search(rf"^  +debut {' '.join(command)}", examples, re.MULTILINE)


def test_commands_are_those_of_the_contract():
    assert {" ".join(command) for command in COMMANDS} == {
        " ".join(command.split()) for command in CONTRACT.split(",")
    }


def test_every_command_takes_debug():
    for command in COMMANDS:
        assert "--debug" in debut(*command, "--help").output


def test_help_questions_and_configuration_never_load_tensorflow():
    code = (
        "import sys; from pipeline.cli import main\n"
        "main(['recommend', '--help'], standalone_mode=False)\n"
        "import pipeline.config, components.ingestion.folder, serving.client, serving.launcher\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


# Errors


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--set", "explore.share=0.2"),
        ("compile", "--runner", "vertex", "--output", "p.json", "--set", "explore.share=0.2"),
        ("items", "add", "--root", "r", "--items", "n.csv", "--set", "data.rating_max=5"),
        ("explore", "--root", "r", "--set", "training.steps=3"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(command):
    refused = debut(*command)
    assert_one_paragraph(refused, 2)
    assert f"--set {command[-1]} would do nothing: this command reads" in refused.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("The file x lacks y. Add it."), 2),
        (Refused("A gate says no."), 3),
        (Unreachable("Nobody there."), 4),
        (DebutError("Lost rows."), 1),
    ],
)
def test_an_error_of_ours_keeps_its_exit_code_however_it_is_wrapped(error, code):
    assert describe(error) == (code, f"Error: {error}")
    cause = RuntimeError("node failed")
    cause.__cause__ = error
    assert describe(cause) == (code, f"Error: {error}")
    try:
        try:
            raise error
        except DebutError:
            raise RuntimeError("while cleaning up")  # noqa: B904
    except RuntimeError as context:
        assert describe(context) == (code, f"Error: {error}")


def test_an_error_that_was_put_aside_is_not_blamed():
    try:
        try:
            raise BadInput("tried first")
        except BadInput:
            raise ValueError("the real one") from None
    except ValueError as error:
        assert describe(error)[0] == 1


def test_an_unexpected_error_is_one_paragraph_with_the_last_line_of_a_traceback():
    text = 'Traceback (most recent call last):\n  File "x"\nKeyError: 3 [while running y]'
    code, shown = describe(RuntimeError(text))
    assert code == 1
    assert shown.startswith("Error: unexpected RuntimeError: KeyError: 3 [while running y].")
    assert "--debug" in shown and "\n" not in shown
    assert len(describe(RuntimeError("x" * 5000))[1]) < 1200


def test_an_error_of_grpc_is_told_by_its_code_and_details():
    with (
        grpc.insecure_channel(f"localhost:{free_port()}") as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    code, shown = describe(refused.value)
    assert code == 1
    assert shown.startswith("Error: unexpected gRPC error UNAVAILABLE: ")
    assert "debug_error_string" not in shown and "--debug" in shown


def test_ctrl_c_ends_with_130_and_one_line(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.config.load_configuration", interrupt)
    result = debut("run")
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize("arguments", [("--debug", "run"), ("run", "--debug")])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(arguments):
    result = debut(*arguments, "--data", "no-such-folder")
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("Error: The data folder no-such-folder")


# Bad input of a run


def test_a_missing_data_folder_ends_with_2(tmp_path):
    result = debut("run", "--data", tmp_path / "shop", "--root", tmp_path / "root")
    assert_one_paragraph(result, 2)
    assert f"{tmp_path / 'shop'} does not exist" in result.stderr
    assert not (tmp_path / "root").exists()


def test_a_missing_column_ends_with_2_and_names_file_and_column(tmp_path):
    write_table(tmp_path, "items", "item_id,name", "a,Apple")
    write_table(tmp_path, "interactions", "user_id,item_id,timestamp", "u,a,1")
    result = debut("run", "--data", tmp_path, "--root", tmp_path / "root")
    assert_one_paragraph(result, 2)
    assert "items.csv" in result.stderr and "title" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--set", "training.pace=1"), "training.pace"),
        (("--set", "training.steps=many"), "training.steps is 'many'"),
        (("--set", "training.steps"), "section.key=value"),
        (("--config", "no-such.yaml"), "no-such.yaml can't be read"),
    ],
)
def test_a_wrong_configuration_ends_with_2(arguments, named):
    result = debut("run", *arguments)
    assert_one_paragraph(result, 2)
    assert named in result.stderr


def test_a_root_that_cannot_be_a_folder_ends_with_2(tmp_path):
    root = tmp_path / "file"
    root.write_text("")
    result = debut("run", "--root", root)
    assert_one_paragraph(result, 2)
    assert f"{root} can't be written" in result.stderr


def test_a_second_run_in_a_root_ends_with_2_and_leaves_the_first_one_s_log(tmp_path):
    log = tmp_path / "run.log"
    with alone(tmp_path):
        log.write_text("the first run's words")
        result = debut("run", "--root", tmp_path)
    assert_one_paragraph(result, 2)
    assert "is under way in" in result.stderr
    assert log.read_text() == "the first run's words"


def test_an_unknown_option_ends_with_2():
    assert debut("run", "--dta", "x").exit_code == 2


def test_too_many_bad_rows_stop_tfx_with_2_and_nothing_but_that_paragraph(tmp_path):
    """Through the real pipeline: the executor's BadInput, and no library's line on stderr."""
    data = tmp_path / "shop"
    write_table(data, "items", "item_id,title", *[f"i{n},Thing {n}" for n in range(20)])
    rows = [f"u{n % 5},{'i1' if n % 4 else 'nowhere'},{1600000000 + n}" for n in range(40)]
    write_table(data, "interactions", "user_id,item_id,timestamp", *rows)
    result = shell("run", "--data", data, "--root", tmp_path / "root")
    assert result.returncode == 2
    assert re.fullmatch(r"Error: 10 of 40 rows of interactions\.csv [^\n]+\n", result.stderr)
    assert "INFO" not in result.stdout
    assert "BadInput" in (tmp_path / "root" / "run.log").read_text()


# What a run prints


def metrics(shift):
    return {
        name: {
            "squared_error": 0.1 + shift,
            "recall_at_20": 0.2 + shift,
            "ndcg_at_20": 0.15 + shift,
            "mrr_at_20": 0.12 + shift,
            "cold_recall_at_20": 0.4 + shift,
            "cold_ndcg_at_20": 0.3 + shift,
        }
        for name in ("overall", "seen", "new")
    }


def outcome(version, **changes):
    gates = load_configuration().gates.model
    decisions = tuple(GateDecision(gate, candidate=0.2222, baseline=0.2200) for gate in gates)
    assert all(decision.passed for decision in decisions)
    file = FileCounts(
        name="interactions.csv", table="interactions", read=1000, emitted=990, replaced=0,
        quarantined=10,
        reasons=(QuarantineReason(reason="empty id", column="user_id", count=10, first_rows=(4,)),),
    )  # fmt: skip
    made = Outcome(
        run_id="2026-01-02T03:04:05",
        summary=IngestionSummary(
            files=(file,), splits={"train": 900, "eval": 60, "new_items": 30}, is_implicit=True,
            rating_min=0, rating_max=1, users=50, items=1234, new_products=7, held_out_items=60,
        ),
        training=TrainingRecord(
            start="fresh", replayed=0,
            before={"recall": 0.3111, "ndcg": 0.2, "score": 0.25555, "squared_error": 0.5},
            after={"recall": 0.4777, "ndcg": 0.3, "score": 0.38885, "squared_error": 0.25},
            kept_step=75, curve=[CurvePoint(step=0, values={"recall": 0.3111})], fine_tuned=None,
            kernel={"ridge": 0.25, "order": 2.0, "side": 0.02}, items=1234, users=50,
            interactions=900, implicit=True, parameters=10, tuned={},
            first_interactions=[], labelled_share=[],
        ),
        metrics={"candidate": metrics(0.0), "baseline": metrics(0.01)},
        decisions=decisions,
        blessed=True,
        infra_blessed=True,
        version=version,
        is_repeat=False,
        durations={"Trainer": 1.0},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """Runs `debut run` where the pipeline, and the model's lists, are given by hand."""

    def run(made, *arguments, meanwhile=lambda: None):
        seen, roots = [], []

        def pretend(config, *, root, console, override):
            roots.append(root)
            meanwhile()
            seen.append(config)
            return dataclasses.replace(made, override=override)

        monkeypatch.setattr(pipeline.runner, "run_pipeline", pretend)
        monkeypatch.setattr(pipeline.report, "new_products_reached", lambda *_: [])
        result = debut("run", "--root", tmp_path / "root", *arguments)
        assert set(roots) <= {tmp_path / "root"}
        return result, seen[0] if seen else None

    return run


def push_with_rules(root, number, **rules):
    """A version, as far as going back looks at one."""
    version = root / "serving" / "debut" / number
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"graph")
    Rules.model_validate(rules).save(version)


def suggested(text):
    """The commands in a text, each as a shell takes it."""
    return [shlex.split(line) for line in re.findall(r"`(debut [^`]+ --root [^`]+)`", text)]


def test_a_suggested_command_can_be_given_as_it_stands_whatever_the_root_is_called(tmp_path):
    root = tmp_path / "my shop's"
    for number in ("1", "2"):
        push_with_rules(root, number, dates=[{"items": ["a"], "last": "2026-12-24"}])
    told = debut("rollback", "7", "--root", root, "--reason", "it sold out").stderr
    assert suggested(told) == [["debut", "versions", "--root", str(root)]]
    told = debut("rollback", "1", "--root", root, "--reason", "it sold out").stdout
    assert suggested(told) == [["debut", "items", "refresh", "--root", str(root)]]


@pytest.mark.parametrize(
    ("changes", "commands"),
    [
        ({}, ["serve"]),
        ({"label": "canary"}, ["promote", "serve"]),
        ({"is_repeat": True}, ["serve"]),
        ({"is_repeat": True, "served": "6"}, ["versions"]),
    ],
)
def test_what_a_run_suggests_can_be_given_as_it_stands(tmp_path, capsys, changes, commands):
    root = tmp_path / "my shop's"
    made = outcome(root / "serving" / "debut" / "5", **changes)
    print_summary(open_console(), made, report=None, root=root)
    expected = [["debut", command, "--root", str(root)] for command in commands]
    assert suggested(capsys.readouterr().out) == expected


def test_a_rollback_says_that_the_dates_of_its_rules_are_those_of_then(tmp_path):
    root = tmp_path / "root"
    for number in ("1", "2"):
        dates = [{"items": ["a"], "last": "2026-12-24"}] if number == "1" else []
        push_with_rules(root, number, new_share=0.1, dates=dates)
    told = {
        number: debut("rollback", number, "--root", root, "--reason", "it sold out").stdout
        for number in ("1", "2")
    }
    assert f"`debut items refresh --root {root}` takes up today's." in told["1"]
    assert "Pushed" in told["2"] and "dates" not in told["2"]


def test_a_run_says_which_tracking_failed(finished, tmp_path):
    made = outcome(tmp_path / "serving" / "debut" / "5")
    training = made.training.model_copy(update={"untracked": ["mlflow"]})
    result, _ = finished(dataclasses.replace(made, training=training))
    assert "tracking.mlflow failed, and has a part" in result.stdout


def test_a_page_in_another_encoding_stands_in_the_index_and_harms_no_run(finished, tmp_path):
    folder = tmp_path / "root" / "report"
    folder.mkdir(parents=True)
    (folder / "notes.html").write_bytes("<p>Entwürfe</p>".encode("latin-1"))
    result, _ = finished(outcome(tmp_path / "serving" / "debut" / "5"))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "notes" in (folder / "index.html").read_text()


@pytest.mark.parametrize("version", ["5", None])
def test_a_report_that_can_t_be_written_is_told_and_leaves_the_exit_code_to_the_model(
    finished, tmp_path, version
):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "report").write_text("in the way")
    made = tmp_path / "serving" / "debut" / version if version else None
    result, _ = finished(outcome(made, blessed=version is not None))
    assert result.exit_code == (0 if version else 3), result.output
    of = "Version 5 is pushed, but its" if version else "The run's"
    told = result.stderr.splitlines()
    assert told[0].startswith(f"{of} report could not be written: FileExistsError: ")
    assert told[1].startswith(f"{of} drift for Prometheus could not be written: ")
    assert "Report:" not in result.stdout


def test_an_override_without_a_reason_is_bad_input(finished):
    result, _ = finished(outcome(None), "--override-gates", "  ")
    assert_one_paragraph(result, 2)
    assert "--override-gates has no reason" in result.stderr


def test_an_override_that_pushed_ends_with_0_and_says_why(finished, tmp_path):
    made = outcome(tmp_path / "serving" / "debut" / "5", blessed=False)
    result, _ = finished(made, "--override-gates", "one odd week")
    assert result.exit_code == 0, result.output
    assert "overridden: one odd week" in result.stdout


def test_a_run_says_which_names_of_its_rules_no_item_has(finished, tmp_path):
    made = outcome(tmp_path / "serving" / "debut" / "5")
    rules = [
        RuleCount(rule="block", numbers="", items=3),
        RuleCount(rule="boosts.0", numbers="factor 2", items=0, unknown=1, such_as=("[amce]",)),
    ]
    training = made.training.model_copy(update={"rules": rules})
    result, _ = finished(dataclasses.replace(made, training=training))
    assert "Rule boosts.0: no item has [amce]." in result.stdout
    assert "Rule block" not in result.stdout


def test_a_withdrawn_model_ends_with_3_and_claims_no_version(finished):
    result, _ = finished(outcome(None, withdrawn="it sold nothing"))
    assert_one_paragraph(result, 3)
    assert "out of service (it sold nothing)" in result.stderr
    assert "Pushed" not in result.stdout


def test_a_run_whose_version_others_came_after_does_not_say_it_is_served(finished, tmp_path):
    made = outcome(tmp_path / "serving" / "debut" / "5", is_repeat=True, served="6")
    result, _ = finished(made)
    assert "pushed version 5, and version 6 came after it" in result.stdout


def test_a_run_that_changed_nothing_says_which_version_still_stands(finished, tmp_path):
    made = outcome(tmp_path / "serving" / "debut" / "1767322000", is_repeat=True)
    result, _ = finished(made)
    assert result.exit_code == 0, result.output
    assert "Nothing has changed since the run that pushed version 1767322000;" in result.stdout


def test_what_the_summary_leaves_out_of_the_reasons_for_setting_rows_aside_is_counted(
    finished, tmp_path
):
    made = outcome(tmp_path / "serving" / "debut" / "5")
    reasons = tuple(
        QuarantineReason(reason=name, column="user_id", count=count, first_rows=(4,))
        for name, count in {"empty id": 900, "too long": 60, "one": 9, "two": 8, "three": 7}.items()
    )
    file = made.summary.files[0].model_copy(update={"quarantined": 984, "reasons": reasons})
    summary = made.summary.model_copy(update={"files": (file,)})
    result, _ = finished(dataclasses.replace(made, summary=summary))
    told = "set aside: empty id (900); too long (60); one (9); others, see the report (15)\n"
    assert told in result.stdout


def test_a_pushed_run_prints_what_it_measured_decided_and_pushed(finished, tmp_path):
    result, _ = finished(outcome(tmp_path / "serving" / "debut" / "1767322000"))
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    shown = result.stdout
    assert "1,234 items (7 new), 50 users" in shown
    assert "interactions.csv: 10 of 1,000 rows were set aside: empty id (10)" in shown
    assert re.search(r"recall +simulated new items, at 20 +0\.3111 +0\.4777", shown)
    assert re.search(r"squared error +eval split +0\.5000 +0\.2500", shown)
    assert re.search(r"recall@20 +0\.2000 \(0\.2100\) +0\.2000 \(0\.2100\) +0\.2000", shown)
    assert re.search(r"cold recall@20 +0\.4000 \(0\.4100\)\s*\n", shown)
    gate = load_configuration().gates.model[0]
    bound = f"≤ {gate.bound:g} +0.2200 +{gate.tolerance:g}"
    assert re.search(rf"passed +squared error +overall +0\.2222 +{bound}", shown)
    assert "Pushed version 1767322000" in shown
    [page] = re.findall(r"^Report: (.*)$", shown, re.MULTILINE)
    assert Path(page).parent == tmp_path / "root" / "report"
    assert Path(page).is_file()
    assert all(len(line) <= 100 for line in shown.splitlines() if str(tmp_path) not in line)


def test_a_run_names_the_versions_whose_changes_it_lacks_and_how_to_bring_them_back(
    finished, tmp_path
):
    made = outcome(tmp_path / "serving" / "debut" / "1767322000", left_out=(1767321000, 1767321500))
    result, _ = finished(made)
    assert result.exit_code == 0, result.output
    [said] = [line for line in result.stdout.splitlines() if "lacks" in line]
    for part in ("1767322000", "1767321000, 1767321500", "`debut items`", "data folder"):
        assert part in said


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        (0, None),
        (1, "Only 1 item is held out as new, so {} for every model that knows it,"),
        (7, "Only 7 items are held out as new, so {} for every model that knows them,"),
        (20, "Only 20 items are held out as new, so {} for every model that knows them,"),
        (21, None),
    ],
)
def test_a_run_says_that_gates_on_lists_of_all_that_is_held_out_tell_nothing(
    finished, tmp_path, held_out, said
):
    made = outcome(tmp_path / "1")
    counts = made.summary.model_copy(update={"held_out_items": held_out})
    shown = finished(dataclasses.replace(made, summary=counts))[0].stdout
    same_for_all = "cold_recall_at_20 is 1 and cold_gini_at_20 is 0"
    if said is None:
        assert "for every model" not in shown
    else:
        assert said.format(same_for_all) in shown
        # The order of one item is the same for all models too.
        assert ("cold_ndcg_at_20 tells models apart" in shown) == (held_out > 1)


def test_a_first_run_has_no_baseline(finished, tmp_path):
    first = outcome(tmp_path / "1", metrics={"candidate": metrics(0.0)})
    shown = finished(first)[0].stdout
    assert "no baseline yet" in shown
    assert re.search(r"recall@20 +0\.2000 +0\.2000 +0\.2000\s*\n", shown)


def test_fine_tuning_is_shown_with_whether_it_was_kept(finished, tmp_path):
    made = outcome(tmp_path / "1")
    for after, verdict in ((0.45, "kept"), (0.35, "undone")):
        tuned = FineTuned(before=0.4, after=after, trainable=10)
        training = made.training.model_copy(update={"fine_tuned": tuned})
        shown = finished(dataclasses.replace(made, training=training))[0].stdout
        of = "simulated new items, at 20"
        assert re.search(rf"fine-tuning {verdict}\) +{of} +0\.4000 +{after:.4f}", shown)


def test_a_refused_model_ends_with_3_and_names_metric_slice_and_both_values(finished, tmp_path):
    gate = load_configuration().gates.model[2]
    worse = GateDecision(gate, candidate=0.1234, baseline=0.4321)
    result, _ = finished(outcome(None, blessed=False, decisions=(worse,)))
    assert_one_paragraph(result, 3)
    for part in ("Evaluator", gate.metric, f"slice {gate.slice}", "0.1234", "0.4321"):
        assert part in result.stderr
    assert "refused" in result.stdout
    assert "Report: " in result.stdout
    assert "Pushed" not in result.stdout


def test_a_model_that_no_server_could_run_ends_with_3_in_infra_validations_words(finished):
    def fail():
        logger = logging.getLogger("absl")
        try:
            raise RuntimeError("Op type not registered 'Mystery'")
        except RuntimeError:
            logger.exception("Infra validation (attempt %d/%d) failed.", 2, 2)

    result, _ = finished(outcome(None, infra_blessed=False), meanwhile=fail)
    assert_one_paragraph(result, 3)
    assert "InfraValidator" in result.stderr
    assert "Op type not registered 'Mystery'" in result.stderr


def test_nothing_pushed_without_a_refusal_is_no_success(finished):
    assert_one_paragraph(finished(outcome(None))[0], 1)


def test_libraries_logs_and_warnings_go_to_the_log_not_the_terminal(finished, tmp_path):
    def chatter():
        logging.getLogger("absl").error("Execution 3 failed.")
        logging.error("careless")
        warnings.warn("Python 3.10 is old", FutureWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result, _ = finished(outcome(tmp_path / "1"), meanwhile=chatter)
    assert result.stderr == ""
    log = (tmp_path / "root" / "run.log").read_text()
    assert "Execution 3 failed." in log and "careless" in log and "Python 3.10 is old" in log


def test_an_unexpected_failure_leaves_its_traceback_in_the_log(finished, tmp_path):
    def fail():
        raise KeyError("lost")

    result, _ = finished(None, meanwhile=fail)
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "KeyError: 'lost'" in (tmp_path / "root" / "run.log").read_text()


@pytest.mark.parametrize("name", ["007: shop", "sh😀p", "𠮷野家", "null", '"q" #1'])
def test_data_and_settings_reach_the_pipeline(finished, tmp_path, name):
    data = tmp_path / name
    write_table(data, "items", "item_id,title", "a,Apple")
    write_table(data, "interactions", "user_id,item_id,timestamp", "u,a,1600000000")
    made = outcome(tmp_path / "1")
    _, config = finished(made, "--data", data, "--set", "training.steps=4")
    assert config.data.path == str(data)
    assert config.training.steps == 4


def test_the_data_of_a_compiled_pipeline_is_the_path_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "compile_pipeline", lambda config, _: config.data.path)
    file = tmp_path / "pipeline.yaml"
    result = debut("compile", "--runner=kubeflow", "--data=/models/sh😀p: 1", f"--output={file}")
    assert result.exit_code == 0, result.output
    assert file.read_text(encoding="utf-8") == "/models/sh😀p: 1"


def test_a_log_without_its_key_is_bad_usage_that_names_the_option(tmp_path):
    result = debut("explore", "--root", tmp_path, "--log", tmp_path)
    assert result.exit_code == 2 and "Give --key too" in result.stderr


def test_a_key_without_its_log_does_not_begin_exploration_anew(tmp_path):
    result = debut("explore", "--root", tmp_path, "--key", "SHOP_KEY")
    assert result.exit_code == 2 and "Give --log too" in result.stderr


# Serving and asking


@contextlib.contextmanager
def serve(root, port):
    process = subprocess.Popen(
        [
            sys.executable, "-m", "pipeline.cli", "serve", f"--root={root}", "--engine=embedded",
            f"--grpc-port={port}", "--rest-port=0",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root of a run that pushed the tests' small shop."""
    root = tmp_path_factory.mktemp("root")
    pushed = root / "serving" / "debut"
    pushed.mkdir(parents=True)
    saved_models.save_shop(str(pushed), version=1767322000)
    return root


@pytest.fixture(scope="module")
def server(root):
    """Target of `debut serve`, and the line it said when it was ready."""
    port = free_port()
    with serve(root, port) as process:
        yield f"127.0.0.1:{port}", process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0


def test_serve_says_one_line_and_ends_with_0_on_sigterm(server):
    target, line = server
    assert line == f"Serving debut version 1767322000: gRPC on {target} [embedded]\n"


def test_serve_finds_the_versions_itself_and_writes_nothing_in_the_root(root, tmp_path):
    shutil.copytree(root, tmp_path / "moved")
    file = config_file(serving_folder(tmp_path / "moved"))
    write_labels(serving_folder(tmp_path / "moved"), {STABLE: 1767322000})
    written = file.read_text().replace(str(tmp_path), "/mnt/other")
    file.write_text(written)
    with serve(tmp_path / "moved", free_port()) as process:
        assert process.stdout.readline().startswith("Serving debut version 1767322000")
    assert file.read_text() == written


def test_serve_without_a_run_ends_with_2_and_says_run_first(tmp_path):
    result = debut("serve", "--root", tmp_path)
    assert_one_paragraph(result, 2)
    assert "Run `debut run` first" in result.stderr


def test_recommend_prints_a_list(server):
    result = debut("recommend", "--user", "u1", "-k", 2, "--target", server[0])
    assert result.exit_code == 0, result.output
    assert re.search(r"apple +5\.0000 *\n +bread +4\.0000", result.stdout)
    assert "u1, version 1767322000" in result.stdout


def test_recommend_json_is_the_whole_answer(server):
    result = debut("recommend", "--user", "ü[1]", "-k", 1, "--target", server[0], "--json")
    assert json.loads(result.stdout) == {
        "user_id": "ü[1]",
        "version": 1767322000,
        "items": [{"item_id": "apple", "score": 5.0}],
    }


def test_history_profile_and_new_only_reach_the_server(server):
    def ids(*arguments):
        result = debut("recommend", "--user", "u", "--json", "--target", server[0], *arguments)
        return [(item["item_id"], item["score"]) for item in json.loads(result.stdout)["items"]]

    assert ids("--new-only") == [("dill", 2.0), ("egg", 1.0)]
    assert ids("--history", "apple, bread,", "-k", 1) == [("cake", 3.0)]
    assert ids("--profile", "abc", "-k", 1) == [("apple", 8.0)]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ("", []),
        ("a, b,", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('x, "5"" pot, red"', ["x", '5" pot, red']),
        ('5" pot', ['5" pot']),
    ],
)
def test_an_id_with_a_comma_can_stand_in_a_history(given, ids):
    assert asking._split(given) == ids


def test_a_history_with_an_open_quote_is_refused():
    result = debut("recommend", "--user", "u", "--history", '"a,b')
    assert result.exit_code == 2 and "double quotes" in result.stderr


def test_nothing_left_to_recommend_is_said(server):
    result = debut(
        "recommend", "--user", "u", "--new-only", "--history", "dill,egg", "--target", server[0]
    )
    assert (result.exit_code, result.stdout) == (0, "Nothing is left to recommend to u.\n")


def test_score_answers_for_every_item(server):
    arguments = (
        "score",
        "--user",
        "user",
        "--item",
        "egg",
        "--item",
        "cake",
        "--target",
        server[0],
    )
    result = debut(*arguments)
    assert re.search(r"egg +0\.4000 +4\.0000 *\n +cake +0\.4000 +4\.0000", result.stdout)
    answer = json.loads(debut(*arguments, "--json").stdout)
    assert [item["item_id"] for item in answer["items"]] == ["egg", "cake"]
    assert answer["items"][0]["rating"] == pytest.approx(0.4)


def test_what_the_command_or_the_server_refuses_ends_with_2(server):
    result = debut("recommend", "--user", "u", "-k", 0, "--target", server[0])
    assert result.exit_code == 2
    assert "'-k': 0 is not in the range x>=1" in result.stderr
    result = debut("score", "--user", "u", "--item", "nothing-like-it", "--target", server[0])
    assert_one_paragraph(result, 2)
    assert "nothing-like-it" in result.stderr


def test_explain_prints_parts_and_shares(server):
    words = ("explain", "--user", "u", "--item", "egg", "--history", "egg,dill")
    result = debut(*words, "--target", server[0])
    assert result.exit_code == 0, result.output
    assert re.search(r"together +\+10\.0000", result.stdout)
    assert re.search(r"dill +\+4\.0000 +57\.1% *\n +egg +\+3\.0000 +42\.9%", result.stdout)
    assert re.search(r"e +\+1\.0000 +14\.3%", result.stdout)
    assert re.search(r"what no word adds\) +\+4\.0000", result.stdout)
    answer = json.loads(debut(*words, "--target", server[0], "--json").stdout)
    assert answer["history"] == [
        {"item_id": "egg", "score": 3.0}, {"item_id": "dill", "score": 4.0}
    ]  # fmt: skip
    assert (answer["score"], answer["base"], answer["rest"]) == (10.0, 1.0, 4.0)


def test_an_explanation_without_a_history_begins_with_the_list_for_somebody_unknown(server):
    words = ("explain", "--user", "u", "--item", "egg", "--target", server[0])
    shown = debut(*words).stdout
    assert re.search(r"its place in the list for somebody unknown +\+1\.0000", shown)
    assert re.search(r"the profile +\+0\.0000", shown)
    assert "nothing speaks for" not in shown
    assert re.search(
        r"an item that nothing speaks for +\+1", debut(*words, "--history", "egg").stdout
    )


def test_audience_is_of_an_item_or_of_texts(server):
    result = debut("audience", "--item", "egg", "-k", 1, "--target", server[0])
    assert re.search(r"egg/////nan/0 +13\.0000", result.stdout)
    words = ("audience", "--title", "pan", "--brand", "Acme", "--price", 2.5, "-k", 1)
    answer = json.loads(debut(*words, "--target", server[0], "--json").stdout)
    assert answer["title"] == "pan"
    assert answer["users"] == [{"user_id": "/pan//Acme//2.50/0", "score": 18.0}]
    for wrong in ((), ("--item", "egg", "--title", "pan")):
        result = debut("audience", *wrong, "--target", server[0])
        assert_one_paragraph(result, 2)
        assert "--title TEXT" in result.stderr


@pytest.mark.parametrize(
    "idle", [("--category", "a"), ("--brand", "a"), ("--description", "a"), ("--price", 0)]
)
def test_an_item_of_the_catalogue_takes_no_texts_or_price(server, idle):
    result = debut("audience", "--item", "egg", *idle, "--target", server[0])
    assert_one_paragraph(result, 2)
    assert "those of the catalogue" in result.stderr


def test_a_price_below_0_is_refused(server):
    result = debut("audience", "--title", "pan", "--price", -1, "--target", server[0])
    assert result.exit_code == 2 and "--price" in result.stderr, result.output


def test_a_bad_rule_file_ends_a_run_before_anything_is_computed(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text("cap: {group: category, most: 0}\n")
    result = debut("run", "--root", tmp_path / "root", "--set", f"rules.file={file}")
    assert_one_paragraph(result, 2)
    assert str(file) in result.stderr and "cap.most is '0'" in result.stderr
    assert not (tmp_path / "root").exists()


def test_no_server_ends_with_4_and_one_paragraph():
    target = f"127.0.0.1:{free_port()}"

    def ask(question):
        return shell(*question, "--user", "u", "--target", target)

    # At once, for each waits out the client's ten seconds.
    with futures.ThreadPoolExecutor() as pool:
        results = [*pool.map(ask, [("recommend",), ("score", "--item", "a")])]
    assert [result.returncode for result in results] == [4, 4]
    for result in results:
        assert re.fullmatch(rf"Error: [^\n]*{target}[^\n]*`debut serve`[^\n]*\n", result.stderr)
        assert result.stdout == ""


# The demo


def test_the_demo_says_where_the_model_knows_another_shop(root):
    result = CliRunner().invoke(demo.demo, ["--root", str(root)])
    assert result.exit_code == 0, result.output
    assert "another shop" in result.stdout


def test_the_demo_without_a_run_says_run_first(tmp_path):
    result = CliRunner().invoke(demo.demo, ["--root", str(tmp_path)])
    assert_one_paragraph(result, 1)
    assert "Run `debut run` first" in result.stderr


class Oracle(Client):
    """A client that knows the answer key, and recommends the first `known` hidden purchases."""

    def __init__(self, hidden, known):
        super().__init__("localhost:1")
        self.hidden, self.known, self.batches = hidden, known, []

    def recommend(self, user_ids, *, history=None, profile=None, k=10, new_only=False):
        assert new_only
        self.batches.append(len(user_ids))
        lists = [sorted(self.hidden[user])[: min(k, self.known)] for user in user_ids]
        return [Ranking(items, [1.0] * len(items), 1) for items in lists]


def test_recall_is_hits_over_what_could_be_hit_in_batches():
    hidden = {f"u{n}": frozenset(f"i{m}" for m in range(40)) for n in range(130)}
    sample = demo.Sample(titles={}, bought={}, hidden=hidden)
    perfect = Oracle(hidden, known=40)
    assert demo.measure_recall(perfect, sample) == 1.0
    assert perfect.batches == [64, 64, 2]
    assert demo.measure_recall(Oracle(hidden, known=5), sample) == pytest.approx(5 / 20)
    few = {"u": frozenset({"a", "b"})}
    assert demo.measure_recall(Oracle(few, known=1), demo.Sample({}, {}, few)) == 0.5


def test_the_sample_is_read_whole_and_in_the_order_of_purchases():
    sample = demo.read_sample()
    with gzip.open(SAMPLE / "answer_key.csv.gz", "rt", encoding="utf-8") as file:
        assert isinstance(file, io.TextIOWrapper)
        rows = list(csv.DictReader(file))
    assert sum(map(len, sample.hidden.values())) == len(rows)
    assert {row["item_id"] for row in rows} <= sample.titles.keys()
    bought = {item for items in sample.bought.values() for item in items}
    assert not bought & {row["item_id"] for row in rows}
    shown = demo._shown(sample)
    assert len(set(shown)) == 3
    assert all(sample.hidden[user] and sample.bought[user] for user in shown)
