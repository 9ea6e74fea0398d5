"""A Pusher whose version appears all at once, for servers that poll the folder.

The stock one copies in place, so a server may load half a version, and it names versions by the
second, so two pushes in one second collide (tfx.components.pusher.executor). This one also knows
two exceptions from the gates: a reason to push what Evaluator refused, and models that a rollback
took out of service, which are not pushed again without such a reason.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tfx.components import Pusher
from tfx.components.pusher import executor
from tfx.components.util import model_utils
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.artifacts import Artifacts
from components.lineage import BASE, LABEL, MODEL_ID, OVERRIDE, WITHDRAWN
from components.push_terms import PushTerms
from components.version_folder import label_of, push, push_in_place_of


class Executor(executor.Executor):
    """Copies a blessed model beside the versions and renames it into place."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Push where both judges and `PushTerms` allow it, else mark the artifact as not pushed.

        Raises:
            Refused: another version was pushed since the one that this was made of.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        config = json.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        terms = PushTerms(**config)
        # What was made of a pushed version has a gate of its own, and no Evaluator.
        is_due, withdrawal = True, ""
        for blessing in input_dict.get(standard_component_specs.MODEL_BLESSING_KEY, ()):
            model_id = str(blessing.get_int_custom_property(MODEL_ID))
            withdrawal = terms.withdrawn.get(model_id, "")
            is_due = model_utils.is_model_blessed(blessing) and not withdrawal
        if not self._is_servable(input_dict) or not (is_due or terms.override):
            if withdrawal:
                pushed.set_string_custom_property(WITHDRAWN, withdrawal)
            self._MarkNotPushed(pushed)
            return
        if not is_due:
            pushed.set_string_custom_property(OVERRIDE, terms.override)
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(
            exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination
        )
        model = Path(self.GetModelPath(input_dict))
        base = Path(destination.filesystem.base_directory)
        if terms.base:
            version = push_in_place_of(base / terms.base, model, keep=terms.keep)
        else:
            version = push(model, base, canary=terms.canary, keep=terms.keep)
        shutil.copytree(model, pushed.uri, dirs_exist_ok=True)
        pushed.set_string_custom_property(LABEL, label_of(version))
        pushed.set_string_custom_property(BASE, terms.base)
        self._MarkPushed(pushed, pushed_destination=str(version), pushed_version=version.name)

    def _is_servable(self, input_dict: Artifacts) -> bool:
        """InfraValidator's word, which nothing overrides."""
        [infra] = input_dict[standard_component_specs.INFRA_BLESSING_KEY]
        return bool(model_utils.is_infra_validated(infra))


class AtomicPusher(Pusher):
    """The stock component with the executor above; `custom_config` is a `PushTerms`'."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
