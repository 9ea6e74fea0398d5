"""Writes the card of a version: JSON for programs, and a page for people that loads nothing."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ml_metadata.metadata_store import MetadataStore

from components.lineage import Push, push_of, read_pushes
from components.metadata_store import read_store
from pipeline.layout import MODEL_NAME, cards_folder, metadata_file
from pipeline.model_card.derived import change, derived_card
from serving.on_disk import write_at_once

Json = dict[str, Any]

_HERE: Final = Path(__file__).parent
_GATE: Final = "gate: "


def card_file(root: Path, version: int, kind: str = "json") -> Path:
    """Where the card of a version is: `json` or `html`."""
    return cards_folder(root) / f"{version}.{kind}"


def write_card(root: Path, version: int) -> Path | None:
    """Write the card of a pushed version, as ML Metadata knows it.

    Returns:
        The page; None where the push, or the run behind it, was not recorded, or is gone.
    """
    store = read_store(metadata_file(root))
    card = _card(root, store, read_pushes(store), version)
    if card is None:
        return None
    folder = cards_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    write_at_once(card_file(root, version), json.dumps(card, ensure_ascii=False, indent=1) + "\n")
    page = card_file(root, version, "html")
    write_at_once(page, render(card))
    return page


def render(card: Json) -> str:
    """The page of a card."""
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent / "report"]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    measured = card["quantitative_analysis"]["performance_metrics"]
    values = [one for one in measured if not one["type"].startswith(_GATE)]
    return environment.get_template("card.html.j2").render(
        card=card,
        gates=[one | {"type": one["type"].removeprefix(_GATE)} for one in measured
               if one["type"].startswith(_GATE)],
        slices={name: list(rows) for name, rows in groupby(values, key=lambda one: one["slice"])},
    )  # fmt: skip


def _card(root: Path, store: MetadataStore, pushes: list[Push], version: int) -> Json | None:
    push = push_of(pushes, version)
    if push is None or push.run is None:
        return None
    if push.base is None:
        from pipeline.model_card.trained import trained_card  # TFMA takes seconds
        from pipeline.run_artifacts import run_behind

        card = trained_card(run_behind(store, push.run), push)
    else:
        base = _written(root, push.base) or _card(root, store, pushes, push.base)
        card = None if base is None else derived_card(base, push)
    if card is None:
        return None
    return card | {"model_details": card["model_details"] | _details(push)}


def _written(root: Path, version: int) -> Json | None:
    file = card_file(root, version)
    if not file.is_file():
        return None
    try:
        card: Json = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # cut off, or no text: it is made anew
        return None
    return card


def _details(push: Push) -> Json:
    day = datetime.fromtimestamp(push.seconds, tz=timezone.utc).strftime("%Y-%m-%d")
    return {
        "version": {"name": str(push.version), "date": day, "diff": change(push)},
        "path": f"serving/{MODEL_NAME}/{push.version}",
    }
