"""How a graph finds what an earlier run left: the served model, and the data behind it.

On this machine TFX's Resolver asks ML Metadata. A runner that can't gives `create_pipeline`
another `Lookups`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from tfx import types
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode

from components.resolvers import (
    LastPushedStatisticsStrategy,
    ServedModelStrategy,
    ServedOfOlderSpanStrategy,
)

SERVED_MODEL: Final = "ServedModel"
SERVED_MODEL_OF_OLDER_SPAN: Final = "ServedModelOfOlderSpan"


def previous_statistics(lane: str) -> str:
    """Id of the node that finds the statistics of a lane."""
    return f"PreviousStatistics{lane.capitalize()}"


class Lookups(Protocol):
    """Makes the nodes that look back, and those that note what the next run will look for."""

    def served_model(self) -> BaseNode:
        """Its output `model` is the one behind the stable version, or empty."""

    def served_model_of_older_span(self, examples: types.BaseChannel) -> BaseNode:
        """Its output `model` is the last served one of a span before that of the Examples."""

    def previous_statistics(self, lane: str) -> BaseNode:
        """Its output `statistics` is that of the run behind the stable version."""

    def registration(self, inputs: Mapping[str, types.BaseChannel]) -> Sequence[BaseNode]:
        """Nodes after the Pusher; `inputs` are named as `RegistrationSpec` names them."""


class MetadataLookups:
    """By ML Metadata, which notes everything by itself."""

    def served_model(self) -> BaseNode:
        """See `ServedModelStrategy`."""
        return tfx.dsl.Resolver(
            strategy_class=ServedModelStrategy,
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        ).with_id(SERVED_MODEL)

    def served_model_of_older_span(self, examples: types.BaseChannel) -> BaseNode:
        """See `ServedOfOlderSpanStrategy`."""
        return tfx.dsl.Resolver(
            strategy_class=ServedOfOlderSpanStrategy,
            model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
            examples=examples,
        ).with_id(SERVED_MODEL_OF_OLDER_SPAN)

    def previous_statistics(self, lane: str) -> BaseNode:
        """See `LastPushedStatisticsStrategy`."""
        return tfx.dsl.Resolver(
            strategy_class=LastPushedStatisticsStrategy,
            statistics=tfx.dsl.Channel(
                type=tfx.types.standard_artifacts.ExampleStatistics,
                producer_component_id=f"Statistics{lane.capitalize()}",
                output_key="statistics",
            ),
        ).with_id(previous_statistics(lane))

    def registration(self, inputs: Mapping[str, types.BaseChannel]) -> Sequence[BaseNode]:
        """Nothing."""
        return ()
