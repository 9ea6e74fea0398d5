"""`ModelServerConfig` read, checked and turned into `ModelSource`s.

The checks, their order and their texts are the stock server's. One difference, on purpose: nothing
of a refused configuration is remembered (the stock server keeps parts of it and then refuses good
ones).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from tensorflow_serving.config import model_server_config_pb2 as config_pb2
from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

from serving.config.text_proto import read_text_proto
from serving.status import StatusError, invalid_argument

VersionPolicy = FileSystemStoragePathSourceConfig.ServableVersionPolicy
PLATFORM = "tensorflow"
_FILE_URI = "file://"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


@dataclass(frozen=True)
class ModelSource:
    """One model to serve.

    Attributes:
        name: model name; may be empty, as with the stock server.
        base_path: absolute folder of the version folders.
        policy: a `ServableVersionPolicy`: which versions to serve; unset means the latest one.
        labels: label to version number.
    """

    name: str
    base_path: str
    policy: Any = field(default_factory=VersionPolicy)
    labels: Mapping[str, int] = field(default_factory=dict)


def single_model(name: str, base_path: str) -> config_pb2.ModelServerConfig:
    """The configuration that `--model_name` and `--model_base_path` stand for."""
    config = config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def read_config(path: str) -> config_pb2.ModelServerConfig:
    """The `--model_config_file`; raises as `read_text_proto`."""
    return read_text_proto(path, config_pb2.ModelServerConfig())


def check_list(config: config_pb2.ModelServerConfig) -> None:
    """First part of the checks: a list, no name twice, no relative path."""
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported"
        )
    models = config.model_config_list.config
    seen: set[str] = set()
    for model in models:
        if model.name in seen:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)
    for model in models:
        if not os.path.isabs(model.base_path) and not _URI.match(model.base_path):
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI;"
                f" got base_path()={model.base_path}"
            )


def check_unchanged_platforms(
    config: config_pb2.ModelServerConfig, served: Mapping[str, Any]
) -> None:
    """Second part: a model that is served (always on TensorFlow) keeps its platform."""
    for model in config.model_config_list.config:
        if model.name in served and (platform := _platform(model)) != PLATFORM:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {model.name} platform was"
                f" {PLATFORM} and new platform requested is {platform}"
            )


def check_labels(
    config: config_pb2.ModelServerConfig,
    *,
    current: Mapping[str, Mapping[str, int]],
    is_available: Any,
    allow_unavailable: bool,
) -> None:
    """Third part: a label points to a version that answers now.

    Args:
        config: the configuration asked for.
        current: model to label to version, as they are now.
        is_available: function of (model, version).
        allow_unavailable: a label that is new, or stays where it is, may point anywhere.
    """
    for model in config.model_config_list.config:
        for label, version in model.version_labels.items():
            stays = current.get(model.name, {}).get(label, version) == version
            if (allow_unavailable and stays) or is_available(model.name, version):
                continue
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {model.name},"
                " which is not currently available for inference",
            )


def sources(config: config_pb2.ModelServerConfig) -> list[ModelSource]:
    """Last part: every platform is TensorFlow; and the models of the checked configuration."""
    for model in config.model_config_list.config:
        if (platform := _platform(model)) != PLATFORM:
            raise invalid_argument(f"Model {model.name} requests unsupported platform {platform}")
    return [
        ModelSource(
            name=model.name,
            base_path=_local_path(model.base_path),
            policy=model.model_version_policy,
            labels=dict(model.version_labels),
        )
        for model in config.model_config_list.config
    ]


def check_logging(config: config_pb2.ModelServerConfig) -> None:
    """After the models have come: the stock server's binary has no logger of requests either."""
    if any(model.HasField("logging_config") for model in config.model_config_list.config):
        raise invalid_argument("No request-logger-creator provided.")


def _platform(model: config_pb2.ModelConfig) -> str:
    if model.model_type != config_pb2.MODEL_TYPE_UNSPECIFIED:
        if model.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and"
                f" ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.model_type != config_pb2.TENSORFLOW:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        return PLATFORM
    if not model.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"
            f" ModelServerConfig::model_platform, model name is {model.name}"
        )
    platform: str = model.model_platform
    return platform


def _local_path(base_path: str) -> str:
    return base_path.removeprefix(_FILE_URI)
