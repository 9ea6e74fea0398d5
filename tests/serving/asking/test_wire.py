"""The client's messages against the real ones: they must be the same on the wire."""

import subprocess
import sys

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    status_pb2,
)

from serving.asking import wire

REAL = {
    "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
    "Shape": tensor_shape_pb2.TensorShapeProto,
    "Tensor": tensor_pb2.TensorProto,
    "Int64Value": wrappers_pb2.Int64Value,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "Status": status_pb2.StatusProto,
    "VersionStatus": get_model_status_pb2.ModelVersionStatus,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "TensorInfo": meta_graph_pb2.TensorInfo,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "Any": any_pb2.Any,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
}


def shape_of(field):
    """Number, label, wire type of a field; an enum is an int32 on the wire."""
    kind = field.TYPE_INT32 if field.type == field.TYPE_ENUM else field.type
    return field.number, field.label == field.LABEL_REPEATED, kind


@pytest.mark.parametrize("name", [name for name in wire.SCHEMA if not name.endswith("Entry")])
def test_fields_have_the_real_numbers_and_types(name):
    real = REAL[name].DESCRIPTOR.fields_by_name
    for field in wire.MESSAGES[name].DESCRIPTOR.fields:
        assert shape_of(field) == shape_of(real[field.name]), field.name


def test_a_map_is_read_from_its_entries():
    request = wire.MESSAGES["PredictRequest"]()
    request.inputs.add(key="x").value.float_val.extend([1.0, 2.0])
    real = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert list(real.inputs["x"].float_val) == [1.0, 2.0]


def test_clients_import_no_tensorflow():
    code = "import sys, serving.client, serving.async_client; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
