"""What the run behind the newest pushed model made of its data, read back from ML Metadata.

Interactions that arrive later are read by the same rules and on the same rating scale.
"""

from __future__ import annotations

from pathlib import Path

from components.artifacts import Quarantine
from components.catalogue.update import DataTerms
from components.ingestion.options import DataOptions
from components.ingestion.summary import RatingScale, read_summary
from components.lineage import open_store, read_pushes
from models.errors import BadInput

_INGESTION = "components.ingestion.component.DataFolderExampleGen"


def read_terms(metadata: Path) -> DataTerms:
    """Read the terms of the run behind the newest push.

    Raises:
        BadInput: there is no such run.
    """
    if not metadata.is_file():
        raise BadInput(
            f"{metadata} does not exist, so nothing tells how the model's data was read. Give "
            "--root the folder that `debut run` was given."
        )
    store = open_store(metadata)
    newest = next((push for push in reversed(read_pushes(store)) if push.run is not None), None)
    if newest is None:
        raise BadInput(f"No run that {metadata} tells of has pushed a model. Run `debut run`.")
    [ingestion] = [e for e in store.get_executions_by_context(newest.run) if e.type == _INGESTION]
    [quarantine] = [
        artifact
        for artifact in store.get_artifacts_by_context(newest.run)
        if artifact.type == Quarantine.TYPE_NAME
    ]
    summary = read_summary(quarantine.uri)
    options = ingestion.custom_properties["options"].string_value
    return DataTerms(
        options=DataOptions.model_validate_json(options),
        scale=RatingScale(summary.rating_min, summary.rating_max, summary.is_implicit),
    )
