"""A small shop on disk and behind a real gRPC server: what the console's tests ask about.

The checkpoint has the names and dtypes of a pushed one, and the server answers as a served model
does, by rules that a test can work out by hand: things are alike as far as they share words.
"""

import re
from collections.abc import Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from pipeline.layout import serving_folder
from serving.version_labels import CANARY, STABLE, write_labels

OLD, NEW = 1_700_000_000, 1_700_000_100
HOSTILE = "<img src=x onerror=\"document.title='taken'\"> teapot"
TITLES = {
    "00001": "Red retro teapot",
    "00002": "Blue enamel teapot",
    "00003": "Red retro mug",
    "00004": "Crème brûlée ramekin set of 4",
    "00005": "陶瓷茶壶",
    "00006": "إبريق شاي أحمر",
    "00007": HOSTILE,
    "00008": "Garden lantern with a name so long that it has to wrap on every screen there is",
    "00009": "Wooden garden bench",
    "00010": "Withdrawn garden gnome",
}
IS_NEW = {"00005", "00009"}
UNAVAILABLE = {"00010"}
BOUGHT = {
    "12347": ["00001", "00003", "00004"],
    "12348": ["00008"],
    "12350": ["00002", "00001"],
    "9": ["00004"],
}
WORDS = sorted({word for title in TITLES.values() for word in re.findall(r"\w+", title.lower())})


def words(text):
    return set(re.findall(r"\w+", text.lower()))


def vector(text):
    """Unit length; zeros for a text whose words no title has."""
    found = np.array([word in words(text) for word in WORDS], np.float32)
    return found / max(float(np.linalg.norm(found)), 1.0)


class _Columns(tf.Module):
    def __init__(self, **columns):
        super().__init__()
        for name, values in columns.items():
            setattr(self, name, tf.Variable(values, shape=[None, *np.shape(values)[1:]]))


def write_root(
    root: Path, *, canary: bool = False, names: Mapping[str, str] = MappingProxyType(TITLES)
) -> Path:
    """Two versions, the newer one stable or the canary."""
    rows = {item: row for row, item in enumerate(TITLES)}
    shelf = _Columns(
        item_id=list(TITLES),
        item_name=list(names.values()),
        is_new=[item in IS_NEW for item in TITLES],
        available=[item not in UNAVAILABLE for item in TITLES],
        embedding=tf.cast([vector(title) for title in TITLES.values()], tf.bfloat16),
        user_id=list(BOUGHT),
        user_items=np.array([rows[i] for items in BOUGHT.values() for i in items], np.int32),
        user_offset=np.cumsum([0, *map(len, BOUGHT.values())]),
    )
    base = serving_folder(root)
    for version in (OLD, NEW):
        folder = base / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
        tf.train.Checkpoint(_shelf=shelf).write(str(folder / "variables" / "variables"))
    write_labels(base, {STABLE: OLD, CANARY: NEW} if canary else {STABLE: NEW})
    return root


def _texts(request, name):
    return [text.decode() for text in tf.make_ndarray(request.inputs[name]).ravel().tolist()]


@dataclass
class Model(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """The answers; the older version ranks the other way round.

    Attributes:
        asked: signature and version of every call.
        newest: the version that answers where none is named.
    """

    asked: list[tuple[str, int]]
    newest: int = NEW

    def Predict(self, request, context):
        signature = request.model_spec.signature_name
        version = request.model_spec.version.value or self.newest
        if version not in (OLD, NEW, self.newest):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: debut {version}")
        self.asked.append((signature, version))
        response = predict_pb2.PredictResponse()
        response.model_spec.version.value = version
        for name, values in getattr(self, signature)(request, version).items():
            array = np.array(values)
            array = array.astype(np.float32) if array.dtype.kind == "f" else array
            proto = tf.make_tensor_proto(array)
            if array.dtype.kind == "f":  # the client reads values, not packed content
                proto.ClearField("tensor_content")
                del proto.float_val[:]
                proto.float_val.extend(array.ravel().tolist())
            response.outputs[name].CopyFrom(proto)
        return response

    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in sorted({self.newest, NEW, OLD}, reverse=True):
            response.model_version_status.add(version=version, state=30)
        return response

    def recommend(self, request, version):
        [user] = _texts(request, "user_id")
        k = int(tf.make_ndarray(request.inputs["k"]))
        new_only = bool(tf.make_ndarray(request.inputs["new_only"]))
        bought = BOUGHT.get(user, [])
        offered = [
            item
            for item in TITLES
            if item not in bought and item not in UNAVAILABLE and (item in IS_NEW or not new_only)
        ]
        if version == OLD:
            offered.reverse()
        chosen = offered[:k]
        scores = [1.0 - place / 10 for place in range(len(chosen))]
        return {"item_id": [chosen], "score": [scores], "propensity": [[1.0] * len(chosen)]}

    def similar_items(self, request, _):
        [item] = _texts(request, "item_id")
        own = vector(TITLES[item])
        cosine = {i: float(vector(t) @ own) for i, t in TITLES.items() if i != item}
        best = sorted(cosine, key=lambda i: -cosine[i])[: int(tf.make_ndarray(request.inputs["k"]))]
        return {"item_id": [best], "score": [[cosine[i] for i in best]]}

    def audience(self, request, _):
        [item], [title] = _texts(request, "item_id"), _texts(request, "title")
        wanted = words(TITLES.get(item, title))
        score = {
            user: float(sum(len(wanted & words(TITLES[i])) for i in items))
            for user, items in BOUGHT.items()
            if item not in items
        }
        best = sorted(score, key=lambda user: -score[user])
        return {"user_id": [best], "score": [[score[user] for user in best]]}

    def embed_items(self, request, _):
        return {"embedding": [vector(title) for title in _texts(request, "title")]}

    def explain(self, request, _):
        users, items = _texts(request, "user_id"), _texts(request, "item_id")
        rows = [[*BOUGHT.get(user, []), "", "", ""][:3] for user in users]
        shares = [[float(len(row) - place) if i else 0.0 for place, i in enumerate(row)]
                  for row in rows]  # fmt: skip
        named = [[*sorted(words(TITLES[item])), *[""] * 30][:30] for item in items]
        total = [sum(row) for row in shares]
        parts = [[sum_ / 2 if place == 0 else 0.0 for place in range(30)] for sum_ in total]
        return {
            "score": [0.5 + sum_ for sum_ in total],
            "base": [0.5] * len(users),
            "evidence": [0.0] * len(users),
            "history_item": rows,
            "history_score": shares,
            "word": named,
            "word_score": parts,
            "rest": [sum_ / 2 for sum_ in total],
        }


@contextmanager
def served():
    """A server of it: its target, and what it was asked."""
    model = Model([])
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(model, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", model
    finally:
        server.stop(None).wait()
