"""What audiences, explanations and rules cost, in process, with the model that a run pushed.

python -m benchmarks trust --root runs --ruled runs-with-rules
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers ops of the graph)
from tensorflow_serving.apis import predict_pb2

from benchmarks.as_served import load_as_served
from benchmarks.generated import in_a_process, with_users
from benchmarks.load import Ask, Latencies, measure_in_turns
from benchmarks.root_option import root_option
from benchmarks.serving import list_requests
from components.warmup import predict_request
from pipeline.commands.configuring import PATH
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.layout import MODEL_NAME, serving_folder
from pipeline.newest import newest_version
from serving.inference.predict import predict

_HISTORY: Final = 20
_REQUESTS: Final = 200
_CALLS: Final = 400
_WARM_UP: Final = 20
_MOST_SECONDS: Final = 15.0
_ROUNDS: Final = 6
_TITLE: Final = "RED RETROSPOT GLASS TEAPOT"


@click.command()
@root_option
@click.option("--ruled", type=PATH, help="Root of a run with rules.")
@click.option("--users", type=int, default=1_000_000, show_default=True, help="0: the shop's own.")
def trust(root: Path, ruled: Path | None, users: int) -> None:
    """Measure audiences, explanations, and where a root of a run with rules is given, rules."""
    console = open_console()
    pushed = newest_version(serving_folder(root))
    random = np.random.default_rng(0)
    model = tf.saved_model.load(str(pushed))
    ids, is_new = model._shelf.item_id.numpy(), model._shelf.is_new.numpy()
    new, seen = ids[is_new], ids[~is_new]
    del model
    rows = {}
    with _served(pushed) as answer:
        for signature in ("score", "explain"):
            pairs = [_pair(signature, random, new, seen) for _ in range(_REQUESTS)]
            rows[signature] = _measured(answer, pairs)
        rows |= _audiences(answer, new, "the shop's own users")
    if users:
        with tempfile.TemporaryDirectory() as scratch:
            with console.status(f"Generating {users:,} users"):
                in_a_process(with_users, pushed, Path(scratch) / "1", users)
            with _served(Path(scratch) / "1") as answer:
                rows |= _audiences(answer, new, f"{users:,} users")
    table = new_table("milliseconds in process", "median", "p99")
    for name, latencies in rows.items():
        table.add_row(name, f"{latencies.median:.2f}", f"{latencies.p99:.2f}")
    print_table(console, f"A history of {_HISTORY} items, lists of 10", table)
    if ruled is not None:
        _report_rules(console, pushed, newest_version(serving_folder(ruled)))


Answer = Callable[[predict_pb2.PredictRequest], int]


@contextmanager
def _served(model: Path) -> Iterator[Answer]:
    """Asks a model, as the embedded server answers but for the wire; answers the version."""
    servable = load_as_served(model)
    try:
        yield lambda request: int(predict(servable, request).model_spec.version.value)
    finally:
        servable.close()


def _in_turns(
    answers: Sequence[Answer], requests: Sequence[predict_pb2.PredictRequest]
) -> list[Latencies]:
    def asks(answer: Answer) -> Ask:
        return lambda number: answer(requests[number % len(requests)])

    return measure_in_turns(
        [asks(answer) for answer in answers],
        calls=_CALLS, warm_up=_WARM_UP, most_seconds=_MOST_SECONDS,
    )  # fmt: skip


def _measured(answer: Answer, requests: Sequence[predict_pb2.PredictRequest]) -> Latencies:
    [latencies] = _in_turns([answer], requests)
    return latencies


def _audiences(answer: Answer, items: Any, shown: str) -> dict[str, Latencies]:
    of_items = [_audience(item_id=[item]) for item in items]
    return {
        f"audience of an item, {shown}": _measured(answer, of_items),
        f"audience of a title, {shown}": _measured(answer, [_audience(title=[_TITLE])]),
    }


def _audience(**given: Sequence[object]) -> predict_pb2.PredictRequest:
    texts = {name: [""] for name in ("item_id", "title", "category", "brand", "description")}
    inputs = {**texts, "price": np.full(1, np.nan, np.float32), **given}
    return predict_request(MODEL_NAME, "audience", **inputs, k=np.int32(10))


def _pair(signature: str, random: np.random.Generator, new: Any, seen: Any) -> Any:
    history = random.choice(seen, _HISTORY, replace=False).tolist()
    return predict_request(
        MODEL_NAME,
        signature,
        user_id=[""],
        history=[history],
        profile=[""],
        item_id=[random.choice(new)],
    )


def _report_rules(console: Any, plain: Path, ruled: Path) -> None:
    """`recommend` without and with rules, request by request, so that both see one machine."""
    requests = list_requests(plain)
    table = new_table("recommend, ms in process", "median without", "with rules", "ratio")
    with _served(plain) as one, _served(ruled) as other:
        for number in range(1, _ROUNDS + 1):
            without, kept = (found.median for found in _in_turns([one, other], requests))
            table.add_row(
                f"round {number}", f"{without:.2f}", f"{kept:.2f}", f"{kept / without:.3f}"
            )
    print_table(console, "Rules", table)
