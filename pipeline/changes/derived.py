"""Pushes what was made of a pushed version outside TFX, and records it where runs look."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ml_metadata.metadata_store import MetadataStore

from components.lineage import ROLLBACK
from components.metadata_store import open_store, read_store
from components.push_terms import PushTerms
from components.recording import record_push
from components.version_folder import KEEP, push, push_in_place_of
from pipeline.after_push import told_where_it_fails
from pipeline.layout import metadata_file
from pipeline.model_card import write_card

_PUSHER: Final = "components.pusher.AtomicPusher"


def push_made_of(
    base: Path,
    candidate: Path,
    *,
    root: Path,
    kind: str,
    details: Mapping[str, str],
    after: int | None = None,
    noted: Callable[[Path], None] | None = None,
) -> Path:
    """Push `candidate`, and record what it was made of before anybody sees it.

    It takes the place of `base`, which has to be the newest version; a rollback becomes stable.

    Args:
        base: folder of the version that it was made of.
        candidate: a SavedModel's folder; `base` itself pushes the same again.
        root: the run's.
        kind: `components.lineage.ITEMS_ADD`, `ITEMS_REMOVE`, `ITEMS_REFRESH`, `EXPLORE` or
            `ROLLBACK`.
        details: to be noted in ML Metadata.
        after: of a rollback, as in `components.version_folder.push`.
        noted: given the version's folder, writes down what else belongs to it, likewise before
            anybody sees it; where that fails, nothing is pushed.

    Returns:
        The folder of the new version.

    Raises:
        Refused: another version was pushed meanwhile.
    """
    metadata = metadata_file(root)

    def record(version: Path, label: str) -> None:
        if noted is not None:
            noted(version)
        record_push(
            open_store(metadata), version, base=base, kind=kind, label=label, details=details
        )  # fmt: skip

    keep = terms_of(base, read_store(metadata)).keep
    if kind == ROLLBACK:
        version = push(candidate, base.parent, keep=keep, record=record, after=after)
    else:
        version = push_in_place_of(base, candidate, keep=keep, record=record)
    with told_where_it_fails("model card", version):
        write_card(root, int(version.name))
    return version


def terms_of(base: Path, store: MetadataStore) -> PushTerms:
    """How a version that is made of another one is pushed: in its place."""
    return PushTerms(keep=_kept(store), base=base.name)


def _kept(store: MetadataStore) -> int:
    """`push.keep` of the newest run that came to its Pusher and had one."""
    runs = sorted(store.get_executions_by_type(_PUSHER), key=lambda run: -run.id)
    configs = (json.loads(run.custom_properties["custom_config"].string_value or "{}")
               for run in runs)  # fmt: skip
    # An older Debut's Pusher had none, or null.
    return next((int(config["keep"]) for config in configs if config), KEEP)
