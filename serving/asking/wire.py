"""The messages a client exchanges with a model server, without TensorFlow.

`tensorflow_serving.apis` imports the `tensorflow` package (seconds, half a gigabyte) for the sake
of a few message classes. These are the same messages as far as a client needs them: same field
numbers and types, in a descriptor pool of their own, so that both can live in one process. Message
names never travel on the wire; maps are written as what they are there, repeated key-value entries.
"""

from __future__ import annotations

from typing import Any

from serving.message_classes import Schema, build

SCHEMA: Schema = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "float_val": (5, "repeated float"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "bool_val": (11, "repeated bool"),
    },
    "TensorEntry": {"key": (1, "string"), "value": (2, "Tensor")},
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "repeated TensorEntry")},
    "PredictResponse": {"outputs": (1, "repeated TensorEntry"), "model_spec": (2, "ModelSpec")},
    "Status": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "VersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "Status")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "GetModelStatusResponse": {"model_version_status": (1, "repeated VersionStatus")},
    "TensorInfo": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "TensorInfoEntry": {"key": (1, "string"), "value": (2, "TensorInfo")},
    "SignatureDef": {
        "inputs": (1, "repeated TensorInfoEntry"),
        "outputs": (2, "repeated TensorInfoEntry"),
    },
    "SignatureDefEntry": {"key": (1, "string"), "value": (2, "SignatureDef")},
    "SignatureDefMap": {"signature_def": (1, "repeated SignatureDefEntry")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "AnyEntry": {"key": (1, "string"), "value": (2, "Any")},
    "GetModelMetadataRequest": {
        "model_spec": (1, "ModelSpec"),
        "metadata_field": (2, "repeated string"),
    },
    "GetModelMetadataResponse": {
        "model_spec": (1, "ModelSpec"),
        "metadata": (2, "repeated AnyEntry"),
    },
}


MESSAGES: dict[str, Any] = build("debut.wire", SCHEMA)
"""Message name to class."""
