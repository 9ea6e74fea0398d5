"""Gives new items a chance in the newest pushed model, by what the feedback log says of them."""

from __future__ import annotations

from pathlib import Path

from components.exploration.update import Explored, update
from components.lineage import EXPLORE, OVERRIDE
from components.shelf_change import Check
from models.options import ExploreOptions
from pipeline.changes.candidate import Candidate
from pipeline.changes.changing import Made, push_changed


def explore_items(
    candidate: Candidate,
    log: Path | None,
    options: ExploreOptions,
    *,
    key: bytes,
    override: str = "",
) -> tuple[Made, Explored]:
    """Make the newest version under a root explore, and push the result.

    Args:
        candidate: that is to be made.
        log: folder of the feedback log; None to begin without one.
        options: of the exploration; the policy `none` ends it.
        key: of the log's pseudonyms.
        override: why what the gate refuses is pushed all the same; empty for not. The infra
            validation can't be overridden, nor what keeps the scores of other items as they are.

    Raises:
        BadInput: the log does not exist, or exploration is to end where there is none.
        Refused: the gate or the infra validation refused the new version, or another one was
            pushed meanwhile, by a run or a rollback; nothing was pushed.
    """

    def changed(base: Path, made: Path) -> tuple[Explored, Check]:
        return update(
            base, log, options, key=key, candidate=made, is_enforced=not override
        )  # fmt: skip

    def noted(done: Explored) -> dict[str, str]:
        reason = {OVERRIDE: override} if done.is_overridden else {}
        return told(options, done) | reason

    return push_changed(candidate, changed, kind=EXPLORE, told=noted)


def told(options: ExploreOptions, done: Explored) -> dict[str, str]:
    """What ML Metadata notes: the policy, what taught it, and by what the gate decided."""
    noted: dict[str, object] = {"policy": options.policy}
    noted |= {name: getattr(done, name) for name in ("lists", "places", "rewards", "items")}
    if (judgement := done.judgement) is not None:
        noted |= {
            "logged_reward": f"{judgement.logged.value:.6f}",
            "estimated_reward": f"{judgement.doubly_robust.value:.6f}",
            "lower_bound": f"{judgement.logged.value + judgement.gain.low:.6f}",
        }
    return {name: str(value) for name, value in noted.items()}
