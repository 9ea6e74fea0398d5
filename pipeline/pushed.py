"""What the run behind a pushed version made of its data, read back from ML Metadata.

Interactions that arrive later are read by the same rules and on the same rating scale.
"""

from __future__ import annotations

from pathlib import Path

from components.artifacts import Quarantine
from components.catalogue.update import DataTerms
from components.ingestion.options import DataOptions
from components.ingestion.summary import RatingScale, read_summary
from components.lineage import push_of, read_pushes
from components.metadata_store import read_store
from models.errors import BadInput
from pipeline.layout import metadata_file
from pipeline.run_artifacts import run_behind


def read_terms(root: Path, version: Path) -> DataTerms:
    """Read the terms of the run behind a pushed version.

    Args:
        root: that `debut run` was given.
        version: its folder.

    Raises:
        BadInput: no such run is recorded, or what it noted of the data is gone.
    """
    metadata = metadata_file(root)
    if not metadata.is_file():
        raise BadInput(
            f"{metadata} does not exist, so nothing tells how the model's data was read. Give "
            "--root the folder that `debut run` was given."
        )
    store = read_store(metadata)
    push = push_of(read_pushes(store), int(version.name))
    if push is None or push.run is None:
        raise BadInput(
            f"{metadata} tells of no run behind version {version.name}, so nothing tells how the "
            "data of its model were read. Put the metadata of its root back, push a model with "
            "`debut run`, or go back to a version that is recorded with `debut rollback`."
        )
    run = run_behind(store, push.run)
    quarantine = run.folder(Quarantine.TYPE_NAME)
    if quarantine is None:
        raise BadInput(
            f"{run.artifact(Quarantine.TYPE_NAME).uri} is gone, which tells how the data of the "
            "model were read: it was removed, or the root was moved. Put it back there, or train "
            "anew with `debut run --set run.enable_cache=false`."
        )
    summary = read_summary(str(quarantine))
    options = run.parameter(Quarantine.TYPE_NAME, "options")
    return DataTerms(
        options=DataOptions.model_validate_json(options),
        scale=RatingScale(summary.rating_min, summary.rating_max, summary.is_implicit),
    )
