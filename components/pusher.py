"""A Pusher whose version appears all at once, for servers that poll the folder.

The stock one copies in place, so a server may load half a version, and it names versions by the
second, so two pushes in one second collide (tfx.components.pusher.executor).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components import Pusher
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.push import push


class Executor(executor.Executor):
    """Copies a blessed model beside the versions and renames it into place."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Push where both blessings are given, else mark the artifact as not pushed."""
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        model = Path(self.GetModelPath(input_dict))
        version = push(model, Path(destination.filesystem.base_directory))
        shutil.copytree(model, pushed.uri, dirs_exist_ok=True)
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)


class AtomicPusher(Pusher):
    """The stock component with the executor above."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
