"""Recall, NDCG and rating error on new items: the simple methods and Debut, on the same splits."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

if not __package__:
    # Run as a file. Python then looks for modules beside it first, and `serving` is one of them.
    sys.path[0] = str(Path(__file__).parents[1])

import click
import numpy as np
from rich.console import Console

from benchmarks.cold_split import ColdStart, make_split, read_split
from benchmarks.command import debut
from benchmarks.intervals import interval
from benchmarks.new_folder import NEW_FOLDER
from benchmarks.references import REFERENCES, Likeness, Reference, likeness
from models.arrays import Doubles, Floats
from models.errors import DebutError
from models.ranking import ranking_quality
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.demo import serving
from pipeline.layout import SAMPLE
from serving.client import Client

AT: Final = 20
DEBUT: Final = "Debut"
_USERS_AT_ONCE: Final = 64
_RATINGS_AT_ONCE: Final = 256


class Score(NamedTuple):
    """What a method did on one split of B tested users.

    Attributes:
        recall: float64 [B], hits / min(20, hidden), None where the method only rates.
        ndcg: float64 [B], binary gains.
        error: float64 [B], sums of squared errors, None where the method only ranks.
        seconds: to fit and to score everybody.
    """

    recall: Doubles | None
    ndcg: Doubles | None
    error: Doubles | None
    seconds: float


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks quality
  python -m benchmarks quality --data shop --seed 7 --seed 11 --seed 13
  python -m benchmarks quality --split split --root runs""",
)
@click.option("--data", type=PATH, default=SAMPLE, help="A data folder  [default: the sample]")
@click.option("--seed", "seeds", type=int, multiple=True, help="Of a split. Repeatable.  [7]")
@click.option("--split", type=PATH, help="A split that exists, instead of --data.")
@click.option("--root", type=PATH, help="With --split: a root whose model was trained on it.")
@click.option("--keep", type=NEW_FOLDER, help="Keep splits and roots in this new folder.")
def quality(
    data: Path, seeds: tuple[int, ...], split: Path | None, root: Path | None, keep: Path | None
) -> None:
    """Compare Debut with simple methods on products that nobody has bought yet."""
    console = open_console()
    if root is not None and split is None:
        raise click.UsageError("--root needs --split: the split that its model was trained on.")
    with tempfile.TemporaryDirectory() as scratch:
        work = keep or Path(scratch)
        if split is not None:
            splits, roots = [split], [root or work / "root"]
        else:
            splits = [work / f"split-{seed}" for seed in seeds or (7,)]
            roots = [work / f"root-{seed}" for seed in seeds or (7,)]
            for seed, folder in zip(seeds or (7,), splits, strict=True):
                make_split(data, folder, seed=seed)
        shops = [read_split(folder) for folder in splits]
        scores: dict[str, list[Score]] = {}
        missing: dict[str, str] = {}
        for folder, shop, root in zip(splits, shops, roots, strict=True):
            _describe(console, folder, shop)
            with console.status("Comparing texts"):
                like = likeness(shop)
            for reference in REFERENCES:
                if reference.rank is None and not shop.is_explicit:
                    continue
                if reference.library and importlib.util.find_spec(reference.library) is None:
                    missing[reference.name] = reference.library
                    continue
                with console.status(reference.name):
                    scores.setdefault(reference.name, []).append(measure(reference, shop, like))
            with console.status(DEBUT):
                scores.setdefault(DEBUT, []).append(_measure_debut(folder, shop, root))
    _print(console, shops, scores, missing)


def measure(reference: Reference, shop: ColdStart, like: Mapping[str, Likeness]) -> Score:
    """Score a reference method; its time counts the comparing of the texts it looks at."""
    start = time.perf_counter()
    recall, ndcg, error = None, None, None
    if reference.rank is not None:
        recall, ndcg = ranking_quality(reference.rank(shop, like), shop.wanted, AT)
    if reference.rate is not None and shop.is_explicit:
        error = squared_errors(shop, reference.rate(shop, like))
    needed = sum(like[kind].seconds for kind in reference.needs)
    return Score(recall, ndcg, error, time.perf_counter() - start + needed)


def squared_errors(shop: ColdStart, predicted: Doubles) -> Doubles:
    """Sums of squared errors of each tested user's hidden ratings: float64 [B]."""
    errors = (predicted - shop.test.rating) ** 2
    total = np.bincount(shop.test.user, errors, len(shop.user_ids))[shop.tested]
    return total.astype(np.float64)


def _measure_debut(split: Path, shop: ColdStart, root: Path) -> Score:
    """Run the pipeline on the split, unless the root is there, and ask the server."""
    start = time.perf_counter()
    if not root.exists():
        debut("run", f"--data={split / 'train'}", f"--root={root}")
    with serving(root) as client:
        recall, ndcg = ranking_quality(ask_ranking(client, shop), shop.wanted, AT)
        error = squared_errors(shop, ask_ratings(client, shop)) if shop.is_explicit else None
    return Score(recall, ndcg, error, time.perf_counter() - start)


def ask_ranking(client: Client, shop: ColdStart) -> Floats:
    """The server's lists as scores float32 [B, C]; what is on no list has the lowest."""
    place = {shop.item_ids[row]: column for column, row in enumerate(shop.candidates)}
    never_bought = int((shop.purchases.getnnz(axis=0) == 0).sum())
    # Items outside the test that nobody has bought either are new to the server too.
    depth = min(AT, len(place)) + never_bought - len(place)
    users = [shop.user_ids[row] for row in shop.tested]
    scores = listed_scores(client, users, place, k=depth, new_only=True)
    for user, listed in zip(users, np.isfinite(scores).sum(axis=1), strict=True):
        if listed < min(AT, len(place)):
            raise DebutError(f"The server gave user {user} {listed} new items only.")
    return scores


def listed_scores(
    client: Client, users: Sequence[str], column_of: Mapping[str, int], *, k: int, new_only: bool
) -> Floats:
    """The server's lists as scores of some items, the more the sooner: float32 [B, C].

    Args:
        client: of the server.
        users: B.
        column_of: of C items; others on a list are passed over, those on none are -inf.
        k: length of the lists.
        new_only: of new items alone.
    """
    scores = np.full((len(users), len(column_of)), -np.inf, np.float32)
    for start in range(0, len(users), _USERS_AT_ONCE):
        batch = users[start : start + _USERS_AT_ONCE]
        for row, ranking in enumerate(client.recommend(batch, k=k, new_only=new_only), start):
            listed = [column_of[item] for item in ranking.item_ids if item in column_of]
            scores[row, listed] = -np.arange(len(listed))
    return scores


def ask_ratings(client: Client, shop: ColdStart) -> Doubles:
    """The server's ratings of the hidden interactions, float64 [N]."""
    users = [shop.user_ids[row] for row in shop.test.user]
    items = [shop.item_ids[row] for row in shop.test.item]
    found: list[float] = []
    for start in range(0, len(users), _RATINGS_AT_ONCE):
        part = slice(start, start + _RATINGS_AT_ONCE)
        found += client.score(users[part], items[part]).ratings
    return np.array(found)


def _describe(console: Console, split: Path, shop: ColdStart) -> None:
    console.print(
        f"{split.name}: {len(shop.candidates):,} of {len(shop.item_ids):,} items new, "
        f"{len(shop.tested):,} users tested on {int(shop.wanted.sum()):,} hidden interactions.",
        soft_wrap=True,
    )


def _print(
    console: Console,
    shops: Sequence[ColdStart],
    scores: Mapping[str, Sequence[Score]],
    missing: Mapping[str, str],
) -> None:
    recalls = {
        name: [score.recall for score in of if score.recall is not None]
        for name, of in scores.items()
    }
    best = max(
        (name for name in recalls if recalls[name] and name != DEBUT),
        key=lambda name: np.mean([recall.mean() for recall in recalls[name]]),
    )
    rated = [
        np.bincount(s.test.user, minlength=len(s.user_ids))[s.tested].astype(np.float64)
        for s in shops
    ]
    table = new_table(f"method, at {AT}", "recall", "NDCG", "over best", "MSE", "seconds")
    for name, of in scores.items():
        against = zip(recalls[name], recalls[best], strict=True) if recalls[name] else ()
        differences = [] if name == best else [own - other for own, other in against]
        table.add_row(
            name,
            _shown(recalls[name], digits=3),
            _shown([score.ndcg for score in of if score.ndcg is not None], digits=3),
            _shown(differences, digits=3, sign="+"),
            _shown([score.error for score in of if score.error is not None], rated, digits=4),
            f"{np.mean([score.seconds for score in of]):,.1f}",
        )
    for name in missing:
        table.add_row(name, "not installed", "", "", "", "")
    print_table(console, f"New items; the best reference is {best}", table)
    console.print(
        f"± is half of the 95 % interval over users{', mean of the splits' if shops[1:] else ''}; "
        "over best: recall less that of the best reference. Seconds are those to fit and to score; "
        "of Debut, the whole pipeline and asking a server.",
        soft_wrap=True,
    )
    for name, library in missing.items():
        console.print(
            f"{name}: Python finds no module {library}; docs/concepts/quality.md says where it is.",
            soft_wrap=True,
        )


def _shown(
    splits: Sequence[Doubles], counts: Sequence[Doubles] | None = None, *, digits: int,
    sign: str = "",
) -> str:  # fmt: skip
    """The interval of a mean over users, or of a ratio of sums; blank without any values."""
    if not splits:
        return ""
    counts = counts or [np.ones_like(values) for values in splits]
    return interval(list(zip(splits, counts, strict=True))).shown(digits, sign=sign)


if __name__ == "__main__":
    quality()
