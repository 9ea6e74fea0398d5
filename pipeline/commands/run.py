"""`debut run`: the whole pipeline on this machine, its report, and an exit code that tells."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from models.errors import DebutError, Refused
from pipeline.commands.configuring import PATH, configuration_options, override_option
from pipeline.commands.failures import debug_option, debugging
from pipeline.layout import SAMPLE, log_file, report_folder
from pipeline.lock import alone

if TYPE_CHECKING:
    from components.ingestion.folder import DataFolder
    from pipeline.config import Configuration
    from pipeline.outcome import Outcome

_LONGEST: Final = 400  # characters of a server's words; the last ones tell what happened


@click.command(
    epilog="""\b
Examples:
  debut run
  debut run --data shop --root runs --set training.steps=300 --set data.rating_max=5

Every option stands, with its default, in pipeline/default.yaml. Ends with 0 where a version was
pushed, 2 for bad input, 3 where a gate refused the model."""
)
@click.option("--data", type=PATH, metavar="DIR", help="The data folder  [default: the sample]")
@click.option(
    "--root",
    type=PATH,
    default="runs",
    show_default=True,
    metavar="DIR",
    help="Where everything that a run makes is kept.",
)
@configuration_options
@override_option("Evaluator")
@debug_option
def run(
    data: Path | None, root: Path, config: Path | None, settings: tuple[str, ...], override: str
) -> None:
    """Train on a shop's data, and push what passes the gates.

    A gate compares the model with a bound, and with the model that is served.
    """
    from components.ingestion.folder import open_folder
    from pipeline.commands.terminal import loading, open_console
    from pipeline.config import RUN_SECTIONS, load_configuration

    loaded = load_configuration(config, settings, data=data, read=RUN_SECTIONS)
    # Read before the slow imports too, so that a fault in it shows at once.
    folder = open_folder(loaded.data.path or SAMPLE)
    loaded.rules.read()

    console = open_console()
    with alone(root), quiet_run(root) as infra_words:
        with loading("TensorFlow and TFX", console):
            from pipeline.commands.summary import print_summary
            from pipeline.runner import run_pipeline
        outcome = run_pipeline(loaded, root=root, console=console, override=override)
        with console.status("Writing the report"):
            page = _report(outcome, loaded, folder, report_folder(root))
    print_summary(console, outcome, report=page, root=root)
    _stop_where_refused(outcome, loaded, infra_words=infra_words, log=log_file(root))


def _report(outcome: Outcome, config: Configuration, data: DataFolder, folder: Path) -> Path | None:
    """The page, None where it could not be written."""
    from pipeline.after_push import told_where_it_fails
    from pipeline.drift import write_drift_metrics
    from pipeline.report import new_products_reached, write_report

    version, page = outcome.version, None
    with told_where_it_fails("report", version):
        reached = new_products_reached(version, data, config.data.options()) if version else []
        page = write_report(outcome, config, reached, folder)
    with told_where_it_fails("drift for Prometheus", version):
        write_drift_metrics(outcome.drift, folder, seconds=time.time())
    return page


@contextmanager
def quiet_run(root: Path) -> Iterator[list[str]]:
    """Keeps libraries off the terminal; yields what InfraValidator's failed attempts will say.

    TFX stores that a model failed infra validation, but logs why.
    """
    from pipeline.commands.quiet import quiet

    words: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg.startswith("Infra validation (attempt") and record.exc_info:
                words.append(str(record.exc_info[1])[-_LONGEST:])

    listener = Listener()
    logger = logging.getLogger("absl")
    logger.addHandler(listener)
    try:
        with quiet(log_file(root), debug=debugging()):
            yield words
    finally:
        logger.removeHandler(listener)


def _stop_where_refused(
    outcome: Outcome, config: Configuration, *, infra_words: list[str], log: Path
) -> None:
    if outcome.override:
        return
    reasons = []
    refusing = [decision for decision in outcome.decisions if not decision.passed]
    if not outcome.blessed or refusing:
        found = "; ".join(decision.explain() for decision in refusing)
        reasons.append(
            f"Evaluator's gate refused the model: {found or 'no gate says why'}. Better data or "
            "training may pass it; the bounds and tolerances stand under `gates.model` in the "
            "configuration."
        )
    if not outcome.infra_blessed:
        said = f" The last attempt ended with: {infra_words[-1]}" if infra_words else ""
        reasons.append(
            "InfraValidator refused the model: a model server could not load it or did not answer "
            f"{config.gates.infra_requests} requests from the data.{said} {log} has the details."
        )
    if outcome.withdrawn:
        reasons.append(
            f"A rollback took this model out of service ({outcome.withdrawn}), so it is not pushed "
            "again by itself. `debut rollback` to its version brings it back, and --override-gates "
            "REASON pushes it anew."
        )
    if reasons:
        raise Refused(f"{' '.join(reasons)} Nothing was pushed; the last version keeps serving.")
    if outcome.version is None:
        raise DebutError(f"Every gate passed, but nothing was pushed. {log} has the details.")
