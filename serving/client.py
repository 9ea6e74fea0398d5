"""`Client`: what the served model can do, as typed Python calls over gRPC.

It talks to the stock server and to the embedded one alike, and imports no TensorFlow. Only
UNAVAILABLE is tried again: every other failure would come out the same.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc

from models.errors import BadInput, DebutError, Unreachable
from serving.wire import MESSAGES
from serving.wire_tensors import BOOL, INT32, floats, nested, padded, scalar, strings, values

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.1
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_DTYPES = {1: "float32", 2: "float64", 3: "int32", 7: "string", 9: "int64", 10: "bool"}
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


@dataclass(frozen=True)
class Ranking:
    """A list of items, best first, with their scores, from one version of the model."""

    item_ids: list[str]
    scores: list[float]
    version: int


@dataclass(frozen=True)
class Scores:
    """Predicted ratings in [0, 1] and ranking scores, one of each per pair asked for."""

    ratings: list[float]
    scores: list[float]
    version: int


@dataclass(frozen=True)
class Embeddings:
    """One embedding per row: lists of floats, nested as deep as the model's output."""

    vectors: list[Any]
    version: int


@dataclass(frozen=True)
class VersionStatus:
    """A version's number, its state by name, and its error (empty where it has none)."""

    version: int
    state: str
    error: str


@dataclass(frozen=True)
class TensorSpec:
    """Dtype by name and shape, -1 for any size; None for any rank."""

    dtype: str
    shape: list[int] | None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class Client:
    """A connection to one model server; usable from several threads, and as a context manager.

    Every call raises `Unreachable` where no server answers in time, `BadInput` where the server
    refuses the arguments, and `DebutError` for any other failure.
    """

    def __init__(self, target: str, *, model: str = "debut", timeout: float = 10.0) -> None:
        """Connects on first use.

        Args:
            target: `HOST:PORT` or `unix:PATH`.
            model: name under which the model is served.
            timeout: seconds that a call may take, its retries included.
        """
        self.target = target
        self.model = model
        self.timeout = timeout
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._predict = self._method(_PREDICT, "PredictResponse")
        self._metadata = self._method(_METADATA, "GetModelMetadataResponse")
        self._status = self._method(_STATUS, "GetModelStatusResponse")

    def __enter__(self) -> Client:
        """The client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the connection."""
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def recommend(
        self,
        user_ids: Sequence[str],
        *,
        history: Sequence[Sequence[str]] | None = None,
        profile: Sequence[str] | None = None,
        k: int = 10,
        new_only: bool = False,
    ) -> list[Ranking]:
        """Items for each user.

        Args:
            user_ids: B users, known or not.
            history: B lists of item ids, oldest first; an empty one leaves a known user's own.
            profile: B texts, empty for none.
            k: how many items, fewer where fewer candidates are left.
            new_only: only items without interactions in training.
        """
        outputs, version = self._run(
            "recommend",
            self._users(user_ids, history, profile)
            | {"k": scalar(INT32, k), "new_only": scalar(BOOL, new_only)},
        )
        return _rankings(outputs, version)

    def score(
        self,
        user_ids: Sequence[str],
        item_ids: Sequence[str],
        *,
        history: Sequence[Sequence[str]] | None = None,
        profile: Sequence[str] | None = None,
    ) -> Scores:
        """What each of B users would rate the item at the same place; other arguments as above."""
        inputs = self._users(user_ids, history, profile)
        inputs["item_id"] = strings("item_ids", item_ids, len(user_ids))
        outputs, version = self._run("score", inputs)
        return Scores(values(outputs["rating"]), values(outputs["score"]), version)

    def embed_items(
        self,
        titles: Sequence[str],
        *,
        categories: Sequence[str] | None = None,
        brands: Sequence[str] | None = None,
        descriptions: Sequence[str] | None = None,
        prices: Sequence[float] | None = None,
    ) -> Embeddings:
        """Embeddings of B products by their text, on the shelf or not; a price may be NaN."""
        rows = len(titles)
        blank = [""] * rows
        outputs, version = self._run(
            "embed_items",
            {
                "title": strings("titles", titles, rows),
                "category": strings("categories", categories or blank, rows),
                "brand": strings("brands", brands or blank, rows),
                "description": strings("descriptions", descriptions or blank, rows),
                "price": floats("prices", prices or [math.nan] * rows, rows),
            },
        )
        return Embeddings(nested(outputs["embedding"]), version)

    def embed_users(
        self,
        user_ids: Sequence[str],
        *,
        history: Sequence[Sequence[str]] | None = None,
        profile: Sequence[str] | None = None,
    ) -> Embeddings:
        """Embeddings of B users; arguments as in `recommend`."""
        outputs, version = self._run("embed_users", self._users(user_ids, history, profile))
        return Embeddings(nested(outputs["embedding"]), version)

    def similar_items(self, item_ids: Sequence[str], *, k: int = 10) -> list[Ranking]:
        """The k items most like each of B items of the catalogue."""
        outputs, version = self._run(
            "similar_items",
            {"item_id": strings("item_ids", item_ids, len(item_ids)), "k": scalar(INT32, k)},
        )
        return _rankings(outputs, version)

    def status(self) -> list[VersionStatus]:
        """The model's versions, newest first, ended ones included."""
        request = MESSAGES["GetModelStatusRequest"]()
        request.model_spec.name = self.model
        return [
            VersionStatus(
                entry.version, _STATES.get(entry.state, "UNKNOWN"), entry.status.error_message
            )
            for entry in self._call(self._status, request).model_version_status
        ]

    def metadata(self) -> dict[str, Signature]:
        """The signatures of the version that answers now, by name."""
        request = MESSAGES["GetModelMetadataRequest"](metadata_field=["signature_def"])
        request.model_spec.name = self.model
        response = self._call(self._metadata, request)
        packed = next(e.value.value for e in response.metadata if e.key == "signature_def")
        return {
            entry.key: Signature(_specs(entry.value.inputs), _specs(entry.value.outputs))
            for entry in MESSAGES["SignatureDefMap"].FromString(packed).signature_def
        }

    def _method(self, path: str, response: str) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=MESSAGES[response].FromString,
        )

    def _users(
        self,
        user_ids: Sequence[str],
        history: Sequence[Sequence[str]] | None,
        profile: Sequence[str] | None,
    ) -> dict[str, Any]:
        rows = len(user_ids)
        return {
            "user_id": strings("user_ids", user_ids, rows),
            "history": padded("history", history or [()] * rows, rows),
            "profile": strings("profile", profile or [""] * rows, rows),
        }

    def _run(self, signature: str, inputs: dict[str, Any]) -> tuple[dict[str, Any], int]:
        request = MESSAGES["PredictRequest"]()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        for name, tensor in inputs.items():
            request.inputs.add(key=name, value=tensor)
        response = self._call(self._predict, request)
        outputs = {entry.key: entry.value for entry in response.outputs}
        return outputs, response.model_spec.version.value

    def _call(self, method: Any, request: Any) -> Any:
        deadline = time.monotonic() + self.timeout
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return method(request, timeout=max(deadline - time.monotonic(), 0.001))
            except grpc.RpcError as error:
                again = error.code() is grpc.StatusCode.UNAVAILABLE and attempt < _ATTEMPTS
                if not again or time.monotonic() + pause >= deadline:
                    raise self._failure(error) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _failure(self, error: grpc.RpcError) -> DebutError:
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.UNAVAILABLE:
            return Unreachable(
                f"No model server answers at {self.target} ({details}). Start one with"
                " `debut serve`, or name another with --target."
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unreachable(
                f"The model server at {self.target} did not answer within {self.timeout:g} s."
            )
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            # What follows the first line names nodes of the graph, of no use to a caller.
            return BadInput(details.split("\n\t [[")[0])
        return DebutError(f"The model server at {self.target} answered {code.name}: {details}")


def _rankings(outputs: dict[str, Any], version: int) -> list[Ranking]:
    """One ranking a row; the empty ids that fill up a short row are left out."""
    ids, scores = outputs["item_id"], outputs["score"]
    rows, columns = (dim.size for dim in ids.tensor_shape.dim)
    rankings = []
    for row in range(rows):
        at = slice(row * columns, (row + 1) * columns)
        pairs = zip(ids.string_val[at], scores.float_val[at], strict=True)
        kept = [(item.decode(), score) for item, score in pairs if item]
        rankings.append(Ranking([item for item, _ in kept], [score for _, score in kept], version))
    return rankings


def _specs(entries: Any) -> dict[str, TensorSpec]:
    return {
        entry.key: TensorSpec(
            _DTYPES.get(entry.value.dtype, f"dtype {entry.value.dtype}"),
            None
            if entry.value.tensor_shape.unknown_rank
            else [dim.size for dim in entry.value.tensor_shape.dim],
        )
        for entry in entries
    }
