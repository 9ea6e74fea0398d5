"""The pipeline that changes what is served without training: `debut items`, as TFX nodes.

For a scheduler, and where ML Metadata has to tell which version was made of which. It runs the
functions that `pipeline.adding` runs for the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tfx import v1 as tfx
from tfx.types import standard_artifacts

from components.catalogue.component import CatalogueUpdater
from components.catalogue.update import Change, DataTerms
from components.infra_validator import EmbeddedInfraValidator
from components.lineage import open_store
from components.push_terms import PushTerms
from components.pusher import AtomicPusher
from pipeline.abandoned import alone, clear_abandoned
from pipeline.derived import terms_of
from pipeline.layout import MODEL_NAME, metadata_file
from pipeline.lock import one_at_a_time
from pipeline.pipeline import SERVING_TAG, Places
from pipeline.pushed import newest_version, read_terms
from pipeline.runner import places

_NAME: Final = "catalogue"


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
    version = tfx.dsl.Importer(
        source_uri=base, artifact_type=standard_artifacts.PushedModel
    ).with_id("BaseVersion")
    updater = CatalogueUpdater(base=version.outputs["result"], change=change, terms=terms)
    # The version has its warm-up requests already: loading it asks every signature.
    infra_validator = EmbeddedInfraValidator(
        model=updater.outputs["model"],
        serving_spec=tfx.proto.ServingSpec(
            tensorflow_serving=tfx.proto.TensorFlowServing(tags=[SERVING_TAG]),
            local_docker=tfx.proto.LocalDockerConfig(),
            model_name=MODEL_NAME,
        ),
        validation_spec=tfx.proto.ValidationSpec(max_loading_time_seconds=120, num_tries=2),
    )
    pusher = AtomicPusher(
        model=updater.outputs["model"],
        infra_blessing=infra_validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=places.serving)
        ),
        custom_config=push.to_config(),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=_NAME,
        pipeline_root=places.artifacts,
        components=[version, updater, infra_validator, pusher],
        metadata_connection_config=places.metadata,
        # The same files on another day are another change.
        enable_cache=False,
        beam_pipeline_args=list(beam_args),
    )


def run_catalogue_pipeline(root: Path, change: Change, *, beam_args: Sequence[str] = ()) -> Path:
    """Run it on this machine on the newest version under a root.

    Returns:
        The newest version afterwards: the one before, where infra validation refused the new one.

    Raises:
        BadInput: a file can't be used, or nothing was pushed under `root`.
        Refused: the gate refused the new version.
    """
    found = places(root)
    serving = Path(found.serving)
    newest_version(serving)
    root = root.resolve()
    with alone(root), one_at_a_time(root, waiting=lambda: None):
        clear_abandoned(root)
        base = newest_version(serving)
        pipeline = create_catalogue_pipeline(
            change,
            base=str(base),
            terms=read_terms(metadata_file(root)),
            push=terms_of(base, open_store(metadata_file(root))),
            places=found,
            beam_args=beam_args,
        )
        tfx.orchestration.LocalDagRunner().run(pipeline)
        return newest_version(serving)
