"""The card of a version that was made of another one: that one's, and what was changed."""

from __future__ import annotations

from typing import Any, Final

from components.lineage import (
    BY,
    EXPLORE,
    INSTEAD_OF,
    ITEMS_ADD,
    ITEMS_REFRESH,
    ITEMS_REMOVE,
    OVERRIDE,
    REASON,
    ROLLBACK,
    Push,
)

Json = dict[str, Any]

_KINDS: Final = {
    ITEMS_ADD: "Products were added, changed or withdrawn",
    ITEMS_REMOVE: "Products were withdrawn",
    ITEMS_REFRESH: "The dates of the rules were taken up as of that day",
    EXPLORE: "What lists have shown of new items was learned",
    ROLLBACK: "An earlier version was pushed again",
}
# Pushes that change nothing of what was measured.
_SAME: Final = (ITEMS_REFRESH, ROLLBACK)
_NO_FACTS: Final = (BY, INSTEAD_OF, OVERRIDE, REASON)


def derived_card(base: Json, push: Push) -> Json:
    """The card of a push, made of that of the version it started from.

    Args:
        base: card of that version.
        push: with a `base`.
    """
    details = base["model_details"]
    made = f"PushedModel {push.artifact}, made of version {push.base} by {push.by}"
    limits = base["considerations"]["limitations"]
    stale = {
        "description": "The figures are those of the run that trained the model; what was changed "
        "since is not in them."
    }
    return base | {
        "model_details": details | {
            "references": [{"reference": made}, *details["references"]],
        },
        "considerations": base["considerations"] | {
            "limitations": limits if push.kind in _SAME or stale in limits else [*limits, stale]
        },
    }  # fmt: skip


def change(push: Push) -> str:
    """How a version differs from the one before it, in words."""
    if push.base is None:
        return "Trained."
    noted = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in push.details.items()
        if name not in _NO_FACTS and value
    ]
    reason = push.details.get(REASON, "")
    told = _KINDS.get(push.kind, "Changed by a pipeline")
    counted = f" ({', '.join(noted)})" if noted else ""
    if push.override:
        return f"{told}{counted}, though a gate refused it: {push.override}"
    return f"{told}{counted}: {reason}" if reason else f"{told}{counted}."
