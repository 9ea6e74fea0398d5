"""Requests to every signature that customers' requests go to, made from one ingested interaction.

TFX builds its requests for the one signature that takes serialized Examples. A model server
compiles each signature at its first call, which must not be a customer's.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from models import features

_K = np.int32(10)


def signature_requests(example: bytes, model_name: str) -> list[predict_pb2.PredictRequest]:
    """Requests to each of them, to some more than one.

    Args:
        example: a serialized interaction, as ingestion emits it.
        model_name: name the server knows the model by.
    """
    found = tf.train.Example.FromString(example).features.feature
    item = [found[features.ITEM_ID].bytes_list.value[0]]
    user = {
        "user_id": [found[features.USER_ID].bytes_list.value[0]],
        "history": [list(found[features.HISTORY].bytes_list.value) or item],
        "profile": [found[features.PROFILE].bytes_list.value[0]],
    }
    text, price = dict.fromkeys(features.ITEM_TEXT, item), np.ones(1, np.float32)
    return [
        predict_request(model_name, "recommend", **user, k=_K, new_only=False),
        predict_request(model_name, "recommend", **user, k=_K, new_only=True),
        predict_request(model_name, "score", **user, item_id=item),
        predict_request(model_name, "explain", **user, item_id=item),
        predict_request(model_name, "embed_users", **user),
        predict_request(model_name, "similar_items", item_id=item, k=_K),
        predict_request(model_name, "embed_items", **text, price=price),
        predict_request(model_name, "audience", item_id=item, **text, price=price, k=_K),
        predict_request(model_name, "audience", item_id=[b""], **text, price=price, k=_K),
    ]


def predict_request(
    model_name: str, signature: str, **inputs: object
) -> predict_pb2.PredictRequest:
    """A request with arrays, or what makes them, as inputs."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
