"""Messages of the stock server's text files that `tensorflow-serving-api` ships without.

Declared here field for field, with the stock names and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
_Fields = Sequence[tuple[str, str]]  # (name, type), numbered from 1
_TYPES = {"bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING, "int64": _Field.TYPE_INT64}


def _classes(messages: dict[str, _Fields]) -> dict[str, Any]:
    """Message classes by name; a type is scalar, `repeated X`, or the full name of a message."""
    file = descriptor_pb2.FileDescriptorProto(
        name="debut/stock_protos.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, type_name) in enumerate(fields, start=1):
            _, repeated, kind = type_name.rpartition("repeated ")
            entry = message.field.add(
                name=field,
                number=number,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
            )
            if kind in _TYPES:
                entry.type = _TYPES[kind]
            else:
                entry.type, entry.type_name = _Field.TYPE_MESSAGE, f".{kind}"
    # A pool of its own: the stock file would clash with ours where both are loaded.
    pool: Any = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    factory: Any = message_factory.MessageFactory(pool)
    return {
        name: factory.GetPrototype(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in messages
    }


_INT64, _BOOL = "google.protobuf.Int64Value", "google.protobuf.BoolValue"
_CLASSES = _classes(
    {
        "BatchingParameters": (
            ("max_batch_size", _INT64),
            ("batch_timeout_micros", _INT64),
            ("max_enqueued_batches", _INT64),
            ("num_batch_threads", _INT64),
            ("thread_pool_name", "google.protobuf.StringValue"),
            ("allowed_batch_sizes", "repeated int64"),
            ("pad_variable_length_inputs", "bool"),
            ("enable_large_batch_splitting", _BOOL),
            ("max_execution_batch_size", _INT64),
        ),
        "PrometheusConfig": (("enable", "bool"), ("path", "string")),
        "MonitoringConfig": (("prometheus_config", f"{_PACKAGE}.PrometheusConfig"),),
    }
)
BatchingParameters: Any = _CLASSES["BatchingParameters"]
"""The message of `--batching_parameters_file` and of a version's `batching_params.pbtxt`."""
MonitoringConfig: Any = _CLASSES["MonitoringConfig"]
"""The message of `--monitoring_config_file`."""
