"""What the served model can be asked: each question as a request and the reading of its answer.

Nothing is sent from here, so that the blocking and the asyncio client share every word. A client
fills in `model`, the name under which the model is served; the other arguments are its methods'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from models.errors import BadInput
from serving.answers import (
    Audience,
    Embeddings,
    Explanation,
    Ranking,
    Scores,
    Signature,
    TensorSpec,
    VersionStatus,
)
from serving.asking.wire import MESSAGES
from serving.asking.wire_tensors import BOOL, count, floats, nested, padded, scalar, strings, values

Answer = TypeVar("Answer")
Value = TypeVar("Value")

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
RESPONSES = {
    PREDICT: "PredictResponse",
    METADATA: "GetModelMetadataResponse",
    STATUS: "GetModelStatusResponse",
}
"""Method to the name of the message that it answers with."""

_DTYPES = {1: "float32", 2: "float64", 3: "int32", 7: "string", 9: "int64", 10: "bool"}
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """One call.

    Attributes:
        method: path of the gRPC method.
        request: its message.
        read: the answer out of the response message.
        fall_back: the answer out of a list of popular items, best first, where no server answers;
            None where such a list would be no answer.
        settled: the answer where there is nothing to ask, in place of the call.
    """

    method: str
    request: Any
    read: Callable[[Any], Answer]
    fall_back: Callable[[Sequence[str]], Answer] | None = None
    settled: Answer | None = None


def recommend(
    model: str,
    user_ids: Sequence[str],
    *,
    history: Sequence[Sequence[str]] | None = None,
    profile: Sequence[str] | None = None,
    k: int = 10,
    new_only: bool = False,
) -> Question[list[Ranking]]:
    """Items for each user.

    Where no server answers in time, a client with a fallback list answers from that, without the
    items of the history given; never with `new_only`, as no popular item is new.

    Args:
        model: name of the model.
        user_ids: B users, known or not.
        history: B lists of item ids, oldest first; an empty one leaves a known user's own.
        profile: B texts, empty for none.
        k: how many items, fewer where fewer candidates are left.
        new_only: only items without interactions in training.
    """
    inputs = _users(user_ids, history, profile)
    inputs |= {"k": count(k), "new_only": scalar(BOOL, new_only)}
    seen = _given(history, [()] * len(user_ids))

    def popular(item_ids: Sequence[str]) -> list[Ranking]:
        return [_fallback_ranking(item_ids, set(without), k) for without in seen]

    return Question(
        PREDICT,
        _predict_request(model, "recommend", inputs),
        _rankings,
        None if new_only or k < 1 else popular,
        _settled(user_ids),
    )


def score(
    model: str,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    *,
    history: Sequence[Sequence[str]] | None = None,
    profile: Sequence[str] | None = None,
) -> Question[Scores]:
    """What each of B users would rate the item at the same place; others as in `recommend`."""
    inputs = _users(user_ids, history, profile)
    inputs["item_id"] = strings("item_ids", item_ids, len(user_ids))

    def read(response: Any) -> Scores:
        outputs, version = _outputs(response)
        return Scores(values(outputs["rating"]), values(outputs["score"]), version)

    return Question(PREDICT, _predict_request(model, "score", inputs), read)


def explain(
    model: str,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    *,
    history: Sequence[Sequence[str]] | None = None,
    profile: Sequence[str] | None = None,
) -> Question[list[Explanation]]:
    """Why each of B users gets the item at the same place; others as in `recommend`."""
    inputs = _users(user_ids, history, profile)
    inputs["item_id"] = strings("item_ids", item_ids, len(user_ids))
    request = _predict_request(model, "explain", inputs)
    return Question(PREDICT, request, _explanations, settled=_settled(user_ids))


def embed_items(
    model: str,
    titles: Sequence[str],
    *,
    categories: Sequence[str] | None = None,
    brands: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
    prices: Sequence[float] | None = None,
) -> Question[Embeddings]:
    """Embeddings of B products by their text, on the shelf or not; a price may be NaN."""
    inputs = _products(titles, categories, brands, descriptions, prices)
    return Question(PREDICT, _predict_request(model, "embed_items", inputs), _embeddings)


def embed_users(
    model: str,
    user_ids: Sequence[str],
    *,
    history: Sequence[Sequence[str]] | None = None,
    profile: Sequence[str] | None = None,
) -> Question[Embeddings]:
    """Embeddings of B users; arguments as in `recommend`."""
    inputs = _users(user_ids, history, profile)
    return Question(PREDICT, _predict_request(model, "embed_users", inputs), _embeddings)


def similar_items(model: str, item_ids: Sequence[str], *, k: int = 10) -> Question[list[Ranking]]:
    """The k items most like each of B items of the catalogue."""
    inputs = {"item_id": strings("item_ids", item_ids, len(item_ids)), "k": count(k)}
    request = _predict_request(model, "similar_items", inputs)
    return Question(PREDICT, request, _rankings, settled=_settled(item_ids))


def audience(
    model: str,
    item_ids: Sequence[str] | None = None,
    *,
    titles: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    brands: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
    prices: Sequence[float] | None = None,
    k: int = 10,
) -> Question[list[Audience]]:
    """The k users who will like each of B items best, without those who bought it.

    Args:
        model: name of the model.
        item_ids: B items of the catalogue; or none, and the other arguments say what products they
            are that need not be there.
        titles: of these B products.
        categories: as long as `titles`, like the rest.
        brands: "" for none.
        descriptions: "" for none.
        prices: NaN where unknown.
        k: how many users, fewer where fewer are left.
    """
    products = titles if item_ids is None else item_ids
    if products is None or (item_ids is not None and titles is not None):
        raise BadInput("An audience needs item_ids, or titles of products, and not both.")
    blank = [""] * len(products)
    inputs = _products(_given(titles, blank), categories, brands, descriptions, prices)
    inputs |= {
        "item_id": strings("item_ids", _given(item_ids, blank), len(products)),
        "k": count(k),
    }
    request = _predict_request(model, "audience", inputs)
    return Question(PREDICT, request, _audiences, settled=_settled(products))


def status(model: str) -> Question[list[VersionStatus]]:
    """The model's versions, newest first, ended ones included."""
    request = MESSAGES["GetModelStatusRequest"]()
    request.model_spec.name = model
    return Question(STATUS, request, _versions)


def metadata(model: str) -> Question[dict[str, Signature]]:
    """The signatures of the version that answers now, by name."""
    request = MESSAGES["GetModelMetadataRequest"](metadata_field=["signature_def"])
    request.model_spec.name = model
    return Question(METADATA, request, _signatures)


def _given(values: Sequence[Value] | None, default: Sequence[Value]) -> Sequence[Value]:
    """Not by `or`: arrays have no truth value."""
    return default if values is None else values


def _settled(rows: Sequence[str]) -> list[Any] | None:
    """The answer to a question of no rows; graphs need not know one."""
    return None if len(rows) else []


def _users(
    user_ids: Sequence[str],
    history: Sequence[Sequence[str]] | None,
    profile: Sequence[str] | None,
) -> dict[str, Any]:
    rows = len(user_ids)
    return {
        "user_id": strings("user_ids", user_ids, rows),
        "history": padded("history", _given(history, [()] * rows), rows),
        "profile": strings("profile", _given(profile, [""] * rows), rows),
    }


def _products(
    titles: Sequence[str],
    categories: Sequence[str] | None,
    brands: Sequence[str] | None,
    descriptions: Sequence[str] | None,
    prices: Sequence[float] | None,
) -> dict[str, Any]:
    rows = len(titles)
    blank = [""] * rows
    return {
        "title": strings("titles", titles, rows),
        "category": strings("categories", _given(categories, blank), rows),
        "brand": strings("brands", _given(brands, blank), rows),
        "description": strings("descriptions", _given(descriptions, blank), rows),
        "price": floats("prices", _given(prices, [math.nan] * rows), rows),
    }


def _predict_request(model: str, signature: str, inputs: dict[str, Any]) -> Any:
    request = MESSAGES["PredictRequest"]()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, tensor in inputs.items():
        request.inputs.add(key=name, value=tensor)
    return request


def _outputs(response: Any) -> tuple[dict[str, Any], int]:
    return (
        {entry.key: entry.value for entry in response.outputs},
        response.model_spec.version.value,
    )


def _rankings(response: Any) -> list[Ranking]:
    outputs, version = _outputs(response)
    lists = _split(_pairs(outputs["item_id"], outputs["score"]))
    if "propensity" not in outputs:  # of similar items
        return [Ranking(items, scores, version) for items, scores in lists]
    chances = _split(_pairs(outputs["item_id"], outputs["propensity"]))
    return [
        Ranking(items, scores, version, chance)
        for (items, scores), (_, chance) in zip(lists, chances, strict=True)
    ]


def _audiences(response: Any) -> list[Audience]:
    outputs, version = _outputs(response)
    lists = _split(_pairs(outputs["user_id"], outputs["score"]))
    return [Audience(users, scores, version) for users, scores in lists]


def _split(rows: list[list[tuple[str, float]]]) -> list[tuple[list[str], list[float]]]:
    return [([text for text, _ in row], [number for _, number in row]) for row in rows]


def _pairs(texts: Any, numbers: Any) -> list[list[tuple[str, float]]]:
    """Texts and the numbers at their places, by row, without those of the empty texts."""
    rows, columns = (dim.size for dim in texts.tensor_shape.dim)
    found = []
    for row in range(rows):
        at = slice(row * columns, (row + 1) * columns)
        pairs = zip(texts.string_val[at], numbers.float_val[at], strict=True)
        found.append([(text.decode(), number) for text, number in pairs if text])
    return found


def _explanations(response: Any) -> list[Explanation]:
    outputs, version = _outputs(response)
    single = {name: values(outputs[name]) for name in ("score", "base", "evidence", "rest")}
    history = _pairs(outputs["history_item"], outputs["history_score"])
    words = _pairs(outputs["word"], outputs["word_score"])
    return [
        Explanation(
            **{name: column[row] for name, column in single.items()},
            history=history[row],
            words=words[row],
            version=version,
        )
        for row in range(len(history))
    ]


def _fallback_ranking(item_ids: Sequence[str], without: Set[str], k: int) -> Ranking:
    unseen = [item for item in dict.fromkeys(item_ids) if item not in without][:k]
    return Ranking(unseen, [math.nan] * len(unseen), None)


def _embeddings(response: Any) -> Embeddings:
    outputs, version = _outputs(response)
    return Embeddings(nested(outputs["embedding"]), version)


def _versions(response: Any) -> list[VersionStatus]:
    return [
        VersionStatus(
            entry.version, _STATES.get(entry.state, "UNKNOWN"), entry.status.error_message
        )
        for entry in response.model_version_status
    ]


def _signatures(response: Any) -> dict[str, Signature]:
    packed = next(e.value.value for e in response.metadata if e.key == "signature_def")
    return {
        entry.key: Signature(_specs(entry.value.inputs), _specs(entry.value.outputs))
        for entry in MESSAGES["SignatureDefMap"].FromString(packed).signature_def
    }


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
