"""Nodes that read and write `components.registry`, in place of TFX's Resolver.

Kubeflow compiles a Resolver and then answers "resolver executors not implemented" when it runs
(kubeflow/pipelines, backend/src/v2/compiler/argocompiler/dag.go). An output can't be empty there,
so where nothing is found it is marked as `ABSENT`; the container entry point takes such inputs
away before an executor sees them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Artifacts
from components.lineage import LABEL, PUSHED, VERSION
from components.registry import MODEL, Registry
from models.errors import Refused

ABSENT: Final = "absent"
"""Custom property of an output for which nothing was found: 1."""

_REGISTRY: Final = "registry"
_PUSHED_TO: Final = "pushed_to"
_WANTED: Final = "wanted"
_EXAMPLES: Final = "examples"
_STATISTICS: Final = "statistics"
_SPLIT_NAMES: Final = "split_names"
_SPAN: Final = "span"

_PLACES: Final = {
    _REGISTRY: ExecutionParameter(type=str),
    _PUSHED_TO: ExecutionParameter(type=str),
}


class LookUpExecutor(base_executor.BaseExecutor):
    """Copies what is found into the one output."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Look up the served entry, or with Examples the one of an older span."""
        self._log_startup(input_dict, output_dict, exec_properties)
        registry = _registry(exec_properties)
        if _EXAMPLES in input_dict:
            examples = artifact_utils.get_single_instance(input_dict[_EXAMPLES])
            entry = registry.served_of_older_span(int(examples.span))
        else:
            entry = registry.served()
        [[output]] = output_dict.values()
        if entry is None:
            output.set_int_custom_property(ABSENT, 1)
            return
        wanted = exec_properties[_WANTED]
        entry.copy(wanted, Path(output.uri))
        for name, value in entry.properties.get(wanted, {}).items():
            setattr(output, name, value)


class ModelLookUpSpec(ComponentSpec):
    """Parameters, input and output of `ModelLookUp`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        _EXAMPLES: ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        **_PLACES,
        _WANTED: ExecutionParameter(type=str),
    }
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        MODEL: ChannelParameter(type=standard_artifacts.Model),
    }


class ModelLookUp(base_component.BaseComponent):
    """The trained model behind the stable version; see `Registry.served`.

    With Examples it is the one to go on from; see `Registry.served_of_older_span`.
    """

    SPEC_CLASS = ModelLookUpSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(LookUpExecutor)

    def __init__(
        self, *, registry: str, pushed_to: str, examples: types.BaseChannel | None = None
    ) -> None:
        """Construct the component; the folders are those of a `Registry`."""
        super().__init__(
            ModelLookUpSpec(
                registry=registry,
                pushed_to=pushed_to,
                wanted=MODEL,
                examples=examples,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )


class StatisticsLookUpSpec(ComponentSpec):
    """Parameters and output of `StatisticsLookUp`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = ModelLookUpSpec.PARAMETERS
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        _STATISTICS: ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }


class StatisticsLookUp(base_component.BaseComponent):
    """Statistics of the run behind the stable version."""

    SPEC_CLASS = StatisticsLookUpSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(LookUpExecutor)

    def __init__(self, *, registry: str, pushed_to: str, lane: str) -> None:
        """Construct the component; `lane` is one that `Registration` was given."""
        super().__init__(
            StatisticsLookUpSpec(
                registry=registry,
                pushed_to=pushed_to,
                wanted=statistics_of(lane),
                statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
            )
        )


class RegistrationExecutor(base_executor.BaseExecutor):
    """Adds what was pushed."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Register the version.

        Raises:
            Refused: nothing was pushed. A run that a gate stopped would else look well.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        found = {key: artifact_utils.get_single_instance(got) for key, got in input_dict.items()}
        pushed = found["pushed_model"]
        if pushed.get_int_custom_property(PUSHED) != 1:
            raise Refused(_why(found))
        kept = {name: found[name] for name in found if name == MODEL or _is_statistics(name)}
        _registry(exec_properties).add(
            int(pushed.get_string_custom_property(VERSION)),
            label=pushed.get_string_custom_property(LABEL),
            span=int(found[_EXAMPLES].span),
            artifacts={name: Path(artifact.uri) for name, artifact in kept.items()},
            properties={
                name: {_SPLIT_NAMES: artifact.split_names, _SPAN: int(artifact.span)}
                for name, artifact in kept.items()
                if _is_statistics(name)
            },
        )


class RegistrationSpec(ComponentSpec):
    """Parameters and inputs of `Registration`."""

    INPUTS: ClassVar[dict[str, ChannelParameter]] = {
        "pushed_model": ChannelParameter(type=standard_artifacts.PushedModel),
        "model_blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing),
        MODEL: ChannelParameter(type=standard_artifacts.Model),
        _EXAMPLES: ChannelParameter(type=standard_artifacts.Examples),
        "statistics_catalogue": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "statistics_interactions": ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = _PLACES
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {}


class Registration(base_component.BaseComponent):
    """Notes a pushed version, its model and the statistics of its data; fails where none was."""

    SPEC_CLASS = RegistrationSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(RegistrationExecutor)

    def __init__(self, *, registry: str, pushed_to: str, **inputs: types.BaseChannel) -> None:
        """Construct the component; `inputs` are those of `RegistrationSpec`."""
        super().__init__(RegistrationSpec(registry=registry, pushed_to=pushed_to, **inputs))


def statistics_of(lane: str) -> str:
    """The name under which the statistics of a lane are kept."""
    return f"{_STATISTICS}_{lane}"


def _is_statistics(name: str) -> bool:
    return name.startswith(f"{_STATISTICS}_")


def _registry(exec_properties: dict[str, Any]) -> Registry:
    return Registry(
        folder=Path(exec_properties[_REGISTRY]), pushed=Path(exec_properties[_PUSHED_TO])
    )


def _why(found: dict[str, types.Artifact]) -> str:
    reasons = []
    if not model_utils.is_model_blessed(found["model_blessing"]):
        reasons.append("Evaluator refused the model: its output `evaluation` has the values")
    if not model_utils.is_infra_validated(found["infra_blessing"]):
        reasons.append("InfraValidator refused the model: the log of its task says why")
    return (
        f"{'; '.join(reasons) or 'The Pusher did not push'}. "
        "Nothing was pushed; the last version keeps serving."
    )
