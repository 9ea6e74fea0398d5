"""Takes first interactions into the newest pushed model, and pushes the result as a new version.

The same as after a run: a gate, an infra validation on a real server, and one atomic push.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers the tokenizer's ops

from components.infra_validator import EmbeddedServerRunner
from components.ingestion.folder import INTERACTIONS, open_table
from components.ingestion.options import read_pseudonym_key
from components.ingestion.support import SetAside, read_support
from components.lineage import ITEMS_ADD
from models.errors import DebutError, Refused
from models.intake import Intake, assign, take_in
from pipeline.derived import push_made_of
from pipeline.layout import MODEL_NAME, serving_folder, set_aside_folder
from pipeline.pushed import newest_version, read_terms
from serving.client import Client

_EXTRA: Final = "assets.extra"  # what TFX lays beside a model; TensorFlow does not save it again
_USERS: Final = 32
_ITEMS: Final = 32
_TOLERANCE: Final = 1e-4
_LIST: Final = 100
_LOAD_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.1


class Added(NamedTuple):
    """What `add_interactions` did.

    Attributes:
        version: folder of the new version.
        base: folder of the version it was made of.
        interactions: how many were taken in.
        adapted: how many items were adapted.
        of_training: how many items were not, because training knew them.
        purchases: pairs of a known user and an item.
        set_aside: rows that could not be used.
        set_aside_file: where these are written, None where there are none.
        seconds: of the adaptation itself.
    """

    version: Path
    base: Path
    interactions: int
    adapted: int
    of_training: int
    purchases: int
    set_aside: list[SetAside]
    set_aside_file: Path | None
    seconds: float


def add_interactions(root: Path, file: Path) -> Added:
    """Take a file of interactions in.

    Raises:
        BadInput: the file can't be used, or nothing was pushed under `root`.
        Refused: the gate or the infra validation refused the new version; nothing was pushed.
    """
    serving = serving_folder(root.resolve())
    table = open_table(file, INTERACTIONS)
    base = newest_version(serving)
    terms = read_terms(root.resolve() / "metadata.sqlite")
    model = tf.saved_model.load(str(base))
    if "adapt_items" not in model.signatures:
        raise Refused(f"{base} was trained before Debut could adapt items. Run `debut run` again.")
    ids = [item.decode() for item in model._shelf.item_id.numpy()]
    support = read_support(
        table, options=terms.options, scale=terms.scale, catalogue=set(ids),
        pseudonym_key=read_pseudonym_key(terms.options),
    )  # fmt: skip
    users = (base / "assets" / "users.txt").read_text(encoding="utf-8").split("\n")[:-1]
    start = time.perf_counter()
    intake = take_in(model, users, support.interactions)
    seconds = time.perf_counter() - start
    gate = _Gate(model, users, ids, intake)
    assign(model, intake.columns)
    with tempfile.TemporaryDirectory(prefix="debut-") as scratch:
        candidate = Path(scratch) / MODEL_NAME / "1"
        tf.saved_model.save(model, str(candidate), signatures=model.signatures)
        if (base / _EXTRA).is_dir():
            shutil.copytree(base / _EXTRA, candidate / _EXTRA)
        gate.check(tf.saved_model.load(str(candidate)))
        _validate(candidate, gate.users)
        taken = {"interactions": str(len(support.interactions)), "file": file.name}
        version = push_made_of(base, candidate, root=root, kind=ITEMS_ADD, details=taken)
    return Added(
        version=version, base=base, interactions=len(support.interactions),
        adapted=len(intake.adapted), of_training=len(intake.of_training),
        purchases=len(intake.pairs), set_aside=support.set_aside,
        set_aside_file=_write(support.set_aside, root, version), seconds=seconds,
    )  # fmt: skip


class _Gate:
    """Nothing changes for the items that no interaction names, and nobody is offered a purchase."""

    def __init__(
        self, model: Any, users: Sequence[str], items: Sequence[str], intake: Intake
    ) -> None:
        """Ask the model before it is changed."""
        random = np.random.default_rng(0)
        supporters = intake.pairs[:, 0]
        # A purchase of an item of training is a reason for other recommendations.
        changed = supporters[np.isin(intake.pairs[:, 1], intake.of_training)]
        same = np.setdiff1d(np.arange(len(users), dtype=np.int64), changed)
        supporters_same = np.intersect1d(supporters, same)
        chosen = np.unique(
            np.concatenate([_some(random, supporters_same, _USERS), _some(random, same, _USERS)])
        )
        untouched = np.setdiff1d(np.arange(len(items)), intake.adapted)
        self.users = [users[row] for row in chosen]
        self._items = [items[row] for row in _some(random, untouched, _ITEMS)]
        self._bought = {
            (users[user], items[item]) for user, item in intake.pairs[np.isin(supporters, chosen)]
        }
        self._before = self._scores(model)

    def check(self, model: Any) -> None:
        """Ask the model that would be pushed.

        Raises:
            Refused: an answer is not what it has to be.
        """
        change = float(np.abs(self._scores(model) - self._before).max(initial=0.0))
        if not change <= _TOLERANCE:
            raise Refused(
                f"The gate refused the new version: the score of an item that no interaction names "
                f"changed by {change:g} (refused above {_TOLERANCE:g}). Nothing was pushed."
            )
        for user, items in zip(self.users, self._lists(model), strict=True):
            for item in items:
                if (user, item) in self._bought:
                    raise Refused(
                        "The gate refused the new version: it recommends item "
                        f"{item} to a user who has bought it. Nothing was pushed."
                    )

    def _scores(self, model: Any) -> npt.NDArray[np.float32]:
        pairs = [(user, item) for user in self.users for item in self._items]
        if not pairs:
            return np.zeros(0, np.float32)
        asked, items = zip(*pairs, strict=True)
        answer = model.signatures["score"](**_nobody_says(asked), item_id=tf.constant(items))
        scores: npt.NDArray[np.float32] = answer["score"].numpy()
        return scores

    def _lists(self, model: Any) -> list[list[str]]:
        if not self.users:
            return []
        answer = model.signatures["recommend"](
            **_nobody_says(self.users), k=tf.constant(_LIST), new_only=tf.constant(False)
        )
        return [[item.decode() for item in row] for row in answer["item_id"].numpy()]


def _some(
    random: np.random.Generator, rows: npt.NDArray[np.int64], most: int
) -> npt.NDArray[np.int64]:
    rows = np.unique(rows)
    return random.choice(rows, min(most, len(rows)), replace=False) if len(rows) else rows


def _nobody_says(users: Sequence[str]) -> dict[str, tf.Tensor]:
    """Inputs that leave history and profile to what the model knows."""
    return {
        "user_id": tf.constant(list(users)),
        "history": tf.zeros([len(users), 0], tf.string),
        "profile": tf.fill([len(users)], ""),
    }


def _validate(candidate: Path, users: Sequence[str]) -> None:
    """Load the candidate in a model server, which replays the warm-up requests, and ask it.

    Raises:
        Refused: it does not load or does not answer.
    """
    try:
        with _served(candidate.parent) as client:
            rankings = client.recommend(list(users) or ["nobody"])
            if not all(np.isfinite(ranking.scores).all() for ranking in rankings):
                raise Refused("Infra validation refused the new version: a score is not finite.")
    except Refused:
        raise
    except DebutError as error:
        raise Refused(
            f"Infra validation refused the new version: {error} Nothing was pushed."
        ) from error


@contextmanager
def _served(folder: Path) -> Iterator[Client]:
    """A client of an embedded server on the versions in a folder."""
    runner = EmbeddedServerRunner(folder, MODEL_NAME)
    runner.Start()
    try:
        deadline = time.time() + _LOAD_SECONDS
        runner.WaitUntilRunning(deadline)
        with Client(runner.GetEndpoint()) as client:
            while (status := client.status()[0]).state != "AVAILABLE":
                if status.state == "END" or time.time() > deadline:
                    raise DebutError(f"a model server did not load it: {status.error}")
                time.sleep(_POLL_SECONDS)
            yield client
    finally:
        runner.Stop()


def _write(rows: list[SetAside], root: Path, version: Path) -> Path | None:
    if not rows:
        return None
    file = set_aside_folder(root) / f"{version.name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row._asdict(), ensure_ascii=False) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file
