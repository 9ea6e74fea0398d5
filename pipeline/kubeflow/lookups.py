"""What an earlier run left, by `components.registry` on the volume that versions are pushed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tfx import types
from tfx.dsl.components.base.base_node import BaseNode

from components.registry_nodes import ModelLookUp, Registration, StatisticsLookUp
from pipeline.lookups import SERVED_MODEL, SERVED_MODEL_OF_OLDER_SPAN, previous_statistics

REGISTRATION: Final = "Registration"


@dataclass(frozen=True)
class RegistryLookups:
    """The `pipeline.lookups.Lookups` of a cluster.

    Attributes:
        registry: folder of the registry, as the containers see it.
        pushed_to: folder that versions are pushed to.
    """

    registry: str
    pushed_to: str

    def served_model(self) -> BaseNode:
        """See `ModelLookUp`."""
        return ModelLookUp(registry=self.registry, pushed_to=self.pushed_to).with_id(SERVED_MODEL)

    def served_model_of_older_span(self, examples: types.BaseChannel) -> BaseNode:
        """See `ModelLookUp`."""
        return ModelLookUp(
            registry=self.registry, pushed_to=self.pushed_to, examples=examples
        ).with_id(SERVED_MODEL_OF_OLDER_SPAN)

    def previous_statistics(self, lane: str) -> BaseNode:
        """See `StatisticsLookUp`."""
        return StatisticsLookUp(
            registry=self.registry, pushed_to=self.pushed_to, lane=lane
        ).with_id(previous_statistics(lane))

    def registration(self, inputs: Mapping[str, types.BaseChannel]) -> Sequence[BaseNode]:
        """The node that adds the version to the registry."""
        node = Registration(registry=self.registry, pushed_to=self.pushed_to, **inputs)
        return [node.with_id(REGISTRATION)]
