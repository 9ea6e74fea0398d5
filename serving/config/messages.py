"""The stock server's configuration messages that `tensorflow-serving-api` leaves out.

Field names are those of `tensorflow_serving/config/*.proto` and of `session_bundle_config.proto`;
only text protos are read with them, so the numbers don't have to be the same, but they are.
"""

from __future__ import annotations

from typing import Any, Final

from serving.message_classes import Schema, build

_SCHEMA: Final[Schema] = {
    "Int64Value": {"value": (1, "int64")},
    "BoolValue": {"value": (1, "bool")},
    "StringValue": {"value": (1, "string")},
    "SSLConfig": {
        "server_key": (1, "string"),
        "server_cert": (2, "string"),
        "custom_ca": (3, "string"),
        "client_verify": (4, "bool"),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    "BatchingParameters": {
        "max_batch_size": (1, "Int64Value"),
        "batch_timeout_micros": (2, "Int64Value"),
        "max_enqueued_batches": (3, "Int64Value"),
        "num_batch_threads": (4, "Int64Value"),
        "thread_pool_name": (5, "StringValue"),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "BoolValue"),
        "max_execution_batch_size": (9, "Int64Value"),
    },
}

_MESSAGES: Final = build("debut.config", _SCHEMA)

SSLConfig: Any = _MESSAGES["SSLConfig"]
MonitoringConfig: Any = _MESSAGES["MonitoringConfig"]
BatchingParameters: Any = _MESSAGES["BatchingParameters"]
