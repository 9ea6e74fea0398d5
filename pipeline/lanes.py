"""What a lane of the pipeline holds its data to: statistics, a curated schema, and validators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import path_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.proto import distribution_validator_pb2

from components.accounted import AccountedStatisticsGen
from components.drift_validator import BY_SPAN_AGE, DriftValidator
from components.example_validator import StrictDistributionValidator, StrictExampleValidator
from components.schema_gen import CuratedSchemaGen
from models import features
from models.digests import file_digest
from pipeline.config import Configuration
from pipeline.lookups import Lookups

SCHEMAS: Final = Path(__file__).parent / "schema"


class Lane(NamedTuple):
    """Nodes of one lane, and what others read of them."""

    nodes: list[BaseNode]
    statistics: tfx.types.BaseChannel
    schema: tfx.types.BaseChannel


def create_lane(
    examples: tfx.types.BaseChannel,
    lane: str,
    config: Configuration,
    *,
    by_span: bool,
    lookups: Lookups,
    schemas: str,
) -> Lane:
    """Build the nodes of one lane: statistics, curated schema and validators.

    Args:
        examples: of the lane.
        lane: `catalogue` or `interactions`.
        config: of the run.
        by_span: whether interactions of the newest span are told apart.
        lookups: how earlier statistics are found.
        schemas: folder of the curated schemas, as the executors see it.
    """
    name = lane.capitalize()
    previous = lookups.previous_statistics(lane)
    statistics = AccountedStatisticsGen(
        examples=examples, stats_options=statistics_options(lane, by_span=by_span)
    ).with_id(f"Statistics{name}")
    file = f"{lane}.pbtxt"
    schema = CuratedSchemaGen(
        schema_file=f"{schemas}/{file}", fingerprint=file_digest(SCHEMAS / file)
    ).with_id(f"Schema{name}")
    validator = StrictExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    ).with_id(f"Validator{name}")
    compared = [features.PRICE, features.CATEGORY] if lane == "catalogue" else [features.RATING]
    drift = DriftValidator(
        statistics=statistics.outputs["statistics"],
        baseline_statistics=previous.outputs["statistics"],
        config=_comparison(compared, config.gates.drift),
    ).with_id(f"DriftValidator{name}")
    nodes = [previous, statistics, schema, validator, drift]
    if lane == "interactions":
        nodes.append(
            StrictDistributionValidator(
                statistics=statistics.outputs["statistics"],
                baseline_statistics=statistics.outputs["statistics"],
                config=_comparison(compared, config.gates.skew),
                include_split_pairs=[(features.EVAL, features.TRAIN)],
            ).with_id(f"SkewValidator{name}")
        )
    return Lane(nodes, statistics.outputs["statistics"], schema.outputs["schema"])


def _comparison(
    compared: Sequence[str], threshold: float
) -> distribution_validator_pb2.DistributionValidatorConfig:
    config = distribution_validator_pb2.DistributionValidatorConfig()
    for feature in compared:
        entry = config.default_slice_config.feature.add()
        entry.path.CopyFrom(path_pb2.Path(step=[feature]))
        entry.distribution_comparator.jensen_shannon_divergence.threshold = threshold
    return config


def statistics_options(lane: str, *, by_span: bool) -> tfdv.StatsOptions:
    """Of one lane's statistics.

    Statistics over a history would count each interaction up to `history_length` times.

    Args:
        lane: `catalogue` or `interactions`.
        by_span: whether interactions of the newest span are told apart, for drift.
    """
    allowed = {
        "catalogue": [
            features.ITEM_ID, *features.ITEM_TEXT, features.PRICE, features.AVAILABLE,
            features.INTERACTIONS,
        ],
        "interactions": [
            features.USER_ID, features.ITEM_ID, features.RATING, features.TIMESTAMP,
            features.PROFILE, features.ITEM_STATE, features.SPAN, features.SPAN_AGE,
            features.USER_GROUP, features.ITEM_GROUP,
        ],
    }  # fmt: skip
    return tfdv.StatsOptions(
        feature_allowlist=allowed[lane],
        slicing_config=BY_SPAN_AGE if by_span and lane == "interactions" else None,
    )
