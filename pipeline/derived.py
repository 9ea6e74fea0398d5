"""Pushes what was made of a pushed version outside TFX, and records it where runs look.

The version takes the place of the one it was made of: made of the canary, it becomes the canary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ml_metadata.metadata_store import MetadataStore

from components.lineage import open_store, record_push
from components.push_terms import PushTerms
from components.version_folder import KEEP, label_of, push
from pipeline.layout import metadata_file
from pipeline.model_card import write_card
from serving.version_labels import CANARY

_PUSHER: Final = "components.pusher.AtomicPusher"


def push_made_of(
    base: Path,
    candidate: Path,
    *,
    root: Path,
    kind: str,
    details: Mapping[str, str],
    is_stable: bool = False,
) -> Path:
    """Push `candidate` and record what it was made of.

    Args:
        base: folder of the version that it was made of.
        candidate: a SavedModel's folder; `base` itself pushes the same again.
        root: the run's.
        kind: `components.lineage.ITEMS_ADD`, `EXPLORE` or `ROLLBACK`.
        details: to be noted in ML Metadata.
        is_stable: push it as stable, even where `base` is the canary.

    Returns:
        The folder of the new version.
    """
    store = open_store(metadata_file(root.resolve()))
    terms = terms_of(base, store)
    is_canary = terms.canary and not is_stable
    version = push(candidate, base.parent, canary=is_canary, keep=terms.keep)
    record_push(
        store, version, base=base, kind=kind, label=label_of(version), details=details
    )  # fmt: skip
    write_card(root, int(version.name))
    return version


def terms_of(base: Path, store: MetadataStore) -> PushTerms:
    """How a version that is made of another one is pushed: in its place."""
    return PushTerms(keep=_kept(store), canary=label_of(base) == CANARY, base=base.name)


def _kept(store: MetadataStore) -> int:
    """`push.keep` of the newest run that came to its Pusher and had one."""
    runs = sorted(store.get_executions_by_type(_PUSHER), key=lambda run: -run.id)
    configs = (json.loads(run.custom_properties["custom_config"].string_value or "{}")
               for run in runs)  # fmt: skip
    # An older Debut's Pusher had none, or null.
    return next((int(config["keep"]) for config in configs if config), KEEP)
