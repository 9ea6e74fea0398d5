"""A served model in a process of its own: what memory it takes, and how fast it embeds a title."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import tensorflow_text  # noqa: F401  (registers ops of the graph)

from benchmarks.as_served import load_as_served
from benchmarks.load import measure
from benchmarks.memory import resident_mib
from components.warmup import predict_request
from pipeline.layout import MODEL_NAME
from serving.inference.predict import predict

_TITLE: Final = "RED RETROSPOT GLASS TEAPOT"
_CALLS: Final = 200
_WARM_UP: Final = 20
_MOST_SECONDS: Final = 15.0


class Loaded(NamedTuple):
    """What was measured.

    Attributes:
        mebibytes: resident memory that loading and answering added to a process.
        milliseconds: median time to embed one title, in process.
    """

    mebibytes: float
    milliseconds: float


def measure_loaded(model: Path) -> Loaded:
    """Load a SavedModel as the embedded server does, in a new process."""
    code = "import sys; from benchmarks.loaded import _report; _report(sys.argv[1])"
    found = subprocess.run(
        [sys.executable, "-c", code, str(model)], check=True, stdout=subprocess.PIPE
    )
    return Loaded(**json.loads(found.stdout.splitlines()[-1]))


def _report(model: str) -> None:
    before = resident_mib(os.getpid())
    servable = load_as_served(Path(model))
    texts = {name: [""] for name in ("category", "brand", "description")}
    request = predict_request(
        MODEL_NAME, "embed_items", title=[_TITLE], **texts, price=np.full(1, np.nan, np.float32)
    )

    def one(_: int) -> int:
        return int(predict(servable, request).model_spec.version.value)

    latencies = measure(one, calls=_CALLS, warm_up=_WARM_UP, most_seconds=_MOST_SECONDS)
    found = Loaded(mebibytes=resident_mib(os.getpid()) - before, milliseconds=latencies.median)
    servable.close()
    print(json.dumps(found._asdict()))
