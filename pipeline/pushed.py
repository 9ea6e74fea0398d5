"""What the run behind the newest pushed model made of its data, read back from ML Metadata.

Interactions that arrive later are read by the same rules and on the same rating scale.
"""

from __future__ import annotations

from pathlib import Path

from components.artifacts import Quarantine
from components.catalogue.update import DataTerms
from components.ingestion.options import DataOptions
from components.ingestion.summary import RatingScale, read_summary
from components.lineage import read_pushes
from components.metadata_store import read_store
from models.errors import BadInput
from pipeline.run_artifacts import run_behind


def read_terms(metadata: Path) -> DataTerms:
    """Read the terms of the run behind the newest push.

    Raises:
        BadInput: there is no such run, or what it noted of the data is gone.
    """
    if not metadata.is_file():
        raise BadInput(
            f"{metadata} does not exist, so nothing tells how the model's data was read. Give "
            "--root the folder that `debut run` was given."
        )
    store = read_store(metadata)
    runs = (push.run for push in reversed(read_pushes(store)) if push.run is not None)
    newest = next(runs, None)
    if newest is None:
        raise BadInput(f"No run that {metadata} tells of has pushed a model. Run `debut run`.")
    run = run_behind(store, newest)
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
