"""The pipelines that change what is served without training: `debut items` and `debut explore`.

As TFX nodes, for a scheduler, and where ML Metadata has to tell which version was made of which.
They run the functions that `pipeline.changes` runs for the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from absl import logging
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types import BaseChannel, standard_artifacts

from components.catalogue.component import CatalogueUpdater
from components.catalogue.update import Change, DataTerms
from components.exploration.component import ExplorationUpdater
from components.metadata_store import read_store
from components.push_terms import PushTerms
from models.options import ExploreOptions
from pipeline.abandoned import clear_abandoned
from pipeline.after_push import told_where_it_fails
from pipeline.beam_profiles import PROFILES
from pipeline.changes.derived import terms_of
from pipeline.into_service import create_infra_validator, create_pusher
from pipeline.layout import metadata_file
from pipeline.lock import alone, one_at_a_time
from pipeline.model_card import write_card
from pipeline.newest import newest_version
from pipeline.pipeline import Places
from pipeline.pushed import read_terms
from pipeline.runner import places

_CATALOGUE: Final = "catalogue"
_EXPLORATION: Final = "exploration"


def create_catalogue_pipeline(
    change: Change, *, base: str, terms: DataTerms, push: PushTerms, places: Places,
    beam_args: Sequence[str],
) -> tfx.dsl.Pipeline:  # fmt: skip
    """Build the graph.

    Args:
        change: files of products, of interactions, of ids to withdraw.
        base: folder of the pushed version that is changed.
        terms: of the run that trained it.
        push: how the result is pushed.
        places: where artifacts, metadata and pushed versions go.
        beam_args: of the pipeline that describes many products.
    """

    def updater(version: BaseChannel) -> BaseNode:
        return CatalogueUpdater(base=version, change=change, terms=terms)

    return _changing(_CATALOGUE, updater, base=base, push=push, places=places, beam_args=beam_args)


def create_exploration_pipeline(
    log: str, *, key: str, options: ExploreOptions, base: str, push: PushTerms, places: Places
) -> tfx.dsl.Pipeline:
    """Build the graph.

    Args:
        log: folder of the feedback log; empty to begin without one.
        key: name of the environment variable with the log's key.
        options: of the exploration.
        base: folder of the pushed version that is changed.
        push: how the result is pushed.
        places: where artifacts, metadata and pushed versions go.
    """

    def updater(version: BaseChannel) -> BaseNode:
        return ExplorationUpdater(base=version, log=log, key=key, options=options)

    return _changing(_EXPLORATION, updater, base=base, push=push, places=places)


def _changing(
    name: str, create_updater: Callable[[BaseChannel], BaseNode], *, base: str, push: PushTerms,
    places: Places, beam_args: Sequence[str] = (),
) -> tfx.dsl.Pipeline:  # fmt: skip
    """The graph around a node that makes a Model of a pushed version."""
    version = tfx.dsl.Importer(
        source_uri=base, artifact_type=standard_artifacts.PushedModel
    ).with_id("BaseVersion")
    updater = create_updater(version.outputs["result"])
    model = updater.outputs["model"]
    infra_validator = create_infra_validator(model)
    pusher = create_pusher(
        model=model,
        infra_blessing=infra_validator.outputs["blessing"],
        serving=places.serving,
        terms=push,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=name,
        pipeline_root=places.artifacts,
        components=[version, updater, infra_validator, pusher],
        metadata_connection_config=places.metadata,
        # The same files on another day are another change.
        enable_cache=False,
        beam_pipeline_args=list(beam_args),
    )


def run_catalogue_pipeline(
    root: Path, change: Change, *, beam_args: Sequence[str] = PROFILES["direct"]
) -> Path:
    """Run it on this machine on the newest version under a root.

    It waits for a `debut run`, and for another change of the items, that is under way there.

    Returns:
        The newest version afterwards: the one before, where infra validation refused the new one.

    Raises:
        BadInput: a file can't be used, or nothing was pushed under `root`.
        Refused: the gate refused the new version, or a rollback has pushed another one meanwhile.
    """

    def create(base: Path, push: PushTerms, found: Places) -> tfx.dsl.Pipeline:
        return create_catalogue_pipeline(
            change,
            base=str(base),
            terms=read_terms(root, base),
            push=push,
            places=found,
            beam_args=beam_args,
        )

    return _run(root, create)


def run_exploration_pipeline(
    root: Path, log: Path | None, options: ExploreOptions, *, key: str = ""
) -> Path:
    """Run it on this machine on the newest version under a root.

    It waits for a `debut run`, and for another change of the items, that is under way there.

    Args:
        root: that `debut run` was given.
        log: folder of the feedback log; None to begin without one.
        options: of the exploration.
        key: name of the environment variable with the log's key.

    Returns:
        The newest version afterwards: the one before, where infra validation refused the new one.

    Raises:
        BadInput: the log does not exist, or nothing was pushed under `root`.
        Refused: the gate refused what was learned, or a rollback has pushed another version
            meanwhile.
    """

    def create(base: Path, push: PushTerms, found: Places) -> tfx.dsl.Pipeline:
        return create_exploration_pipeline(
            "" if log is None else str(log.resolve()),
            key=key, options=options, base=str(base), push=push, places=found,
        )  # fmt: skip

    return _run(root, create)


def _run(root: Path, create: Callable[[Path, PushTerms, Places], tfx.dsl.Pipeline]) -> Path:
    found = places(root)
    serving = Path(found.serving)
    newest_version(serving)
    # Runs too: ML Metadata can't tell two of them in a root apart, see `lock`.
    with alone(root, waiting=_say_waiting), one_at_a_time(root, waiting=_say_waiting):
        clear_abandoned(root)
        base = newest_version(serving)
        push = terms_of(base, read_store(metadata_file(root)))
        tfx.orchestration.LocalDagRunner().run(create(base, push, found))
        made = newest_version(serving)
        if made != base:
            with told_where_it_fails("model card", made):
                write_card(root, int(made.name))
        return made


def _say_waiting() -> None:
    logging.warning("Another run or change of this root's version is under way; waiting for it.")
