"""Makes a version of another one that explores as the feedback log suggests, without training.

All that is learned is computed from the whole log each time, by what the version promises without
it: a purchase that comes late counts, nothing counts twice, and the same log gives the same state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops

from components.catalogue.gate import Gate, Loaded
from components.exploration.judging import Judgement, judge
from components.exploration.lists import SeenList, read_lists
from components.exploration.observing import Observed, observe
from components.shelf_change import Check, save_changed, users_of
from models.arrays import Floats
from models.errors import BadInput, Refused
from models.exploration.bandit import learn
from models.exploration.exploration import Exploration, no_exploration
from models.export.quick_calls import quick_first_calls
from models.options import ExploreOptions
from models.pseudonyms import MARK, pseudonym
from models.rules import Rules
from models.shelf.intake import NewValues, assign


class Explored(NamedTuple):
    """What `update` did.

    Attributes:
        lists: in the log.
        strangers: of these, lists of users whom the model does not know.
        places: of these with an item that is new.
        rewards: that they brought.
        bad_lines: of the log.
        items: that may be explored.
        spent: further new items, whose budget is spent.
        judgement: on what was learned; None where nothing could be judged.
        is_overridden: whether the gate refused that, and it was saved all the same.
    """

    lists: int
    strangers: int
    places: int
    rewards: int
    bad_lines: int
    items: int
    spent: int
    judgement: Judgement | None
    is_overridden: bool


@quick_first_calls()
def update(
    base: Path, log: Path | None, options: ExploreOptions, *, key: bytes, candidate: Path,
    is_enforced: bool = True,
) -> tuple[Explored, Check]:  # fmt: skip
    """Save a version with another state of exploration that the gate has passed.

    Args:
        base: the version it is made of.
        log: folder of the feedback log; None to begin without one.
        options: of the exploration.
        key: of the log's pseudonyms.
        candidate: folder of the new version, which does not exist yet.
        is_enforced: whether what was learned is refused where it may well earn less.

    Returns:
        What was done, and the gate for whoever serves the version.

    Raises:
        BadInput: the log does not exist, exploration is to end where there is none, no item is new,
            or the rules hold a cap, which no exploration heeds.
        Refused: the version is too old, or the gate refused what was learned.
    """
    model = tf.saved_model.load(str(base))
    shelf = model._shelf
    if not hasattr(shelf, "exploration"):
        raise Refused(
            f"{base} was trained before Debut could explore. Run `debut run` again, then give the "
            "command again."
        )
    if options.policy == "none" and not len(shelf.exploration.row.numpy()):
        raise BadInput(
            f"{base} explores nothing, and explore.policy is none, so there is nothing to end. To "
            "begin, set explore.policy to linucb or thompson."
        )
    rules = Rules.load(base)
    if rules is not None and rules.cap is not None and options.policy != "none":
        raise BadInput(
            f"The rules of {base} hold a cap, and explored places would not heed it. Run `debut "
            "run` without the cap, or set explore.policy to none."
        )
    if not shelf.is_new.numpy().any():
        raise BadInput(
            f"{base} has no new item, so there is nothing to explore. Add new ones with `debut "
            "items add`, or begin after a run that knows some."
        )
    users = users_of(base)
    known = {user.removeprefix(MARK): user for user in users}
    known |= {pseudonym(key, user): user for user in users}
    lists, bad = ([], []) if log is None else read_lists(log, users=known, reward=options.reward)

    ids = [item.decode() for item in shelf.item_id.numpy()]
    new = [ids[row] for row in np.flatnonzero(shelf.is_new.numpy())]
    gate = Gate(
        Loaded(model), users=users, items=ids, named=new, touched=(), interactions=()
    )  # fmt: skip
    taught = teach(model, lists, options, is_enforced=is_enforced)
    check = save_changed(model, base, candidate, gate)
    trained = set(users)
    strangers = sum(seen.user not in trained for seen in lists)
    return _told(lists, strangers, len(bad), taught, options.tolerance), check


class Taught(NamedTuple):
    """What lists taught a model.

    Attributes:
        state: that is on its shelf now.
        observed: None where it explores nothing.
        judgement: None where nothing could be judged.
    """

    state: Exploration
    observed: Observed | None
    judgement: Judgement | None


def teach(
    model: Any, lists: Sequence[SeenList], options: ExploreOptions, *, is_enforced: bool = True
) -> Taught:
    """Put on the shelf of a loaded SavedModel what lists have shown.

    Raises:
        Refused: the gate refused what was learned; the model explores nothing then.
    """
    shelf = model._shelf
    ids = shelf.item_id.numpy()
    rows = np.flatnonzero(shelf.is_new.numpy())
    before = _shown_before(shelf, len(ids))[rows]
    # What a user was promised is asked without exploration.
    assign(model, columns_of(no_exploration()))
    if options.policy == "none":
        return Taught(no_exploration(), None, None)
    observed = observe(model, lists, [ids[row].decode() for row in rows])
    embedding = shelf.embedding.numpy()
    # A log that has lost its older files gives no budget back.
    impressions = np.maximum(observed.impressions, before).astype(np.int32)
    judgement = judge(embedding[rows], observed, options, impressions=impressions)
    if judgement is not None and is_enforced:
        judgement.check(options.tolerance)
    state = state_of(
        embedding, rows, observed, options, impressions=impressions, salt=str(len(lists))
    )
    assign(model, columns_of(state))
    return Taught(state, observed, judgement)


def state_of(
    embedding: Floats,
    new: npt.NDArray[np.int64],
    observed: Observed,
    options: ExploreOptions,
    *,
    impressions: npt.NDArray[np.int32],
    salt: str,
) -> Exploration:
    """The columns after all that was observed.

    Args:
        embedding: float32 [I, D], of the shelf.
        new: int64 [N], rows of the new items.
        observed: lists with some of these.
        options: of the exploration.
        impressions: int32 [N], how often each was shown on an explored place.
        salt: another one draws other lists.
    """
    posterior = learn(embedding[new], observed.feedback, deviation=options.prior_deviation)
    # The posterior's draws depend on the log alone, so that a version can be made again.
    draw = posterior.draws(
        options.policy,
        optimism=options.optimism,
        random=np.random.default_rng(len(observed.feedback.item)),
    )
    return Exploration(
        share=np.array([options.share], np.float32),
        uniform=np.array([options.uniform], np.float32),
        salt=np.array([salt], object),
        row=new.astype(np.int32),
        impressions=impressions,
        is_explored=impressions < options.budget,
        learned=posterior.learned(),
        draw=draw,
    )


def _shown_before(shelf: Any, items: int) -> npt.NDArray[np.int32]:
    """Impressions on explored places that the shelf knows of: int32 [I]."""
    shown = np.zeros(items, np.int32)
    shown[shelf.exploration.row.numpy()] = shelf.exploration.impressions.numpy()
    return shown


def columns_of(state: Exploration) -> NewValues:
    """By the names of the shelf's columns."""
    return {f"exploration.{field.name}": getattr(state, field.name) for field in fields(state)}


def _told(
    lists: Sequence[SeenList], strangers: int, bad: int, taught: Taught, tolerance: float
) -> Explored:
    state, observed, judgement = taught
    return Explored(
        lists=len(lists),
        strangers=strangers,
        places=0 if observed is None else len(observed.of),
        rewards=0 if observed is None else int(observed.feedback.reward.sum()),
        bad_lines=bad,
        items=int(state.is_explored.sum()),
        spent=int((~state.is_explored).sum()),
        judgement=judgement,
        is_overridden=judgement is not None and not judgement.passes(tolerance),
    )
