"""The pipeline definition: `create_pipeline` builds the graph and touches nothing else.

Two lanes run side by side until training. The catalogue's lane handles text, each item once; the
interactions' lane handles ids. Runners decide where the graph runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import tensorflow_data_validation as tfdv
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import path_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.proto import distribution_validator_pb2

from components.accounted import AccountedEvaluator, AccountedStatisticsGen, AccountedTransform
from components.drift_validator import BY_SPAN_AGE, DriftValidator
from components.example_validator import StrictDistributionValidator, StrictExampleValidator
from components.infra_validator import EmbeddedInfraValidator
from components.ingestion.component import DataFolderExampleGen
from components.push_terms import PushTerms
from components.pusher import AtomicPusher
from components.schema_gen import CuratedSchemaGen
from components.trainer import TwoTowerTrainer
from components.tuner import TwoTowerTuner
from models import features
from models.digests import file_digest
from models.rules import Rules
from pipeline.config import Configuration
from pipeline.evaluation import evaluation_config
from pipeline.layout import MODEL_NAME
from pipeline.lookups import Lookups, MetadataLookups

SCHEMAS: Final = Path(__file__).parent / "schema"
# The client protocol that InfraValidator speaks; see `EmbeddedInfraValidator`.
SERVING_TAG: Final = "2.16.1"


@dataclass(frozen=True)
class Fingerprints:
    """Of the content of what a run reads, so that nothing changed is taken from a cache."""

    data: str  # and of the code that reads it
    encoder: str


@dataclass(frozen=True)
class Places:
    """The folders and addresses a run uses besides the data; `schemas` are the curated ones."""

    artifacts: str
    serving: str
    metadata: metadata_store_pb2.ConnectionConfig
    schemas: str = str(SCHEMAS)


@dataclass(frozen=True)
class Exceptions:
    """What is pushed though a gate refused it, or not pushed though the gates passed it.

    Attributes:
        override: a person's reason to push what Evaluator refuses; empty for none.
        withdrawn: id of each model that a rollback took out of service, to the reason.
    """

    override: str = ""
    withdrawn: Mapping[str, str] = field(default_factory=dict)


def create_pipeline(
    config: Configuration,
    *,
    data: str,
    fingerprints: Fingerprints,
    places: Places,
    by_span: bool = False,
    exceptions: Exceptions | None = None,
    rules: Rules | None = None,
    lookups: Lookups | None = None,
) -> tfx.dsl.Pipeline:
    """Build the graph.

    Args:
        config: everything that decides what is computed.
        data: the data folder.
        fingerprints: of the data folder and of the encoder's.
        places: where artifacts, metadata and pushed versions go.
        by_span: whether the data has an earlier span than the latest. Then training goes on from
            an earlier model, and gates look at spans too.
        exceptions: from what the gates say; None for none.
        rules: that lists keep; None for none.
        lookups: how earlier runs are looked at; None for ML Metadata.
    """
    exceptions = exceptions or Exceptions()
    lookups = lookups or MetadataLookups()
    nodes: list[BaseNode] = []
    ingestion = DataFolderExampleGen(
        data=data, options=config.data.options(), fingerprint=fingerprints.data
    )
    nodes.append(ingestion)
    lanes = {
        lane: _validated(
            ingestion.outputs[lane], lane, config, by_span=by_span, lookups=lookups,
            schemas=places.schemas,
        )
        for lane in ("catalogue", "interactions")
    }  # fmt: skip
    nodes += [node for lane in lanes.values() for node in lane.nodes]

    transform_options = {
        "encoder": config.encoder.name,
        "encoder_fingerprint": fingerprints.encoder,
        **config.features.model_dump(),
    }
    catalogue_transform = AccountedTransform(
        examples=ingestion.outputs["catalogue"],
        schema=lanes["catalogue"].schema,
        preprocessing_fn="models.preprocessing.preprocess_catalogue",
        splits_config=tfx.proto.SplitsConfig(analyze=[features.ALL], transform=[features.ALL]),
        custom_config=transform_options,
        disable_statistics=True,  # over token ids they cost more than they tell
    ).with_id("TransformCatalogue")
    # Only analysed: nothing about an id has to be transformed, so nothing is written again.
    interactions_transform = tfx.components.Transform(
        examples=ingestion.outputs["interactions"],
        schema=lanes["interactions"].schema,
        preprocessing_fn="models.preprocessing.preprocess_interactions",
        splits_config=tfx.proto.SplitsConfig(analyze=[features.TRAIN]),
        custom_config={},
        materialize=False,
        disable_statistics=True,
    ).with_id("TransformInteractions")
    # Nothing is computed from data that a validator has not passed.
    for validator in [node for node in nodes if "Validator" in node.id]:
        catalogue_transform.add_upstream_node(validator)
        interactions_transform.add_upstream_node(validator)

    inputs = {
        "interactions": ingestion.outputs["interactions"],
        "interactions_graph": interactions_transform.outputs["transform_graph"],
        "catalogue": catalogue_transform.outputs["transformed_examples"],
        "catalogue_graph": catalogue_transform.outputs["transform_graph"],
    }
    options = training_options(config, encoder_fingerprint=fingerprints.encoder, rules=rules)
    tuner = (
        TwoTowerTuner(**inputs, options=options, trials=config.tuner.trials)
        if config.tuner.enabled
        else None
    )
    base = (
        lookups.served_model_of_older_span(ingestion.outputs["interactions"])
        if by_span and config.continual.start == "warm"
        else None
    )
    trainer = TwoTowerTrainer(
        **inputs,
        options=options,
        hyperparameters=tuner and tuner.outputs["best_hyperparameters"],
        base_model=base and base.outputs["model"],
    )
    baseline = lookups.served_model()
    evaluator = AccountedEvaluator(
        examples=ingestion.outputs["interactions"],
        example_splits=[features.EVAL, features.NEW_ITEMS],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        eval_config=evaluation_config(config.gates.model, by_span=by_span),
    ).with_id("Evaluator")
    infra_validator = EmbeddedInfraValidator(
        model=trainer.outputs["model"],
        examples=ingestion.outputs["interactions"],
        serving_spec=tfx.proto.ServingSpec(
            tensorflow_serving=tfx.proto.TensorFlowServing(tags=[SERVING_TAG]),
            local_docker=tfx.proto.LocalDockerConfig(),
            model_name=MODEL_NAME,
        ),
        validation_spec=tfx.proto.ValidationSpec(max_loading_time_seconds=120, num_tries=2),
        request_spec=tfx.proto.RequestSpec(
            tensorflow_serving=tfx.proto.TensorFlowServingRequestSpec(
                signature_names=["serving_default"]
            ),
            num_examples=config.gates.infra_requests,
            make_warmup=True,
            split_name=features.TRAIN,  # the one split that is never empty
        ),
    )
    pusher = AtomicPusher(
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=places.serving)
        ),
        custom_config=PushTerms(
            keep=config.push.keep,
            canary=config.push.canary,
            override=exceptions.override,
            withdrawn=exceptions.withdrawn,
        ).to_config(),
    )
    registration = lookups.registration(
        {
            "pushed_model": pusher.outputs["pushed_model"],
            "model_blessing": evaluator.outputs["blessing"],
            "infra_blessing": infra_validator.outputs["blessing"],
            "model": trainer.outputs["model"],
            "examples": ingestion.outputs["interactions"],
            **{f"statistics_{lane}": found.statistics for lane, found in lanes.items()},
        }
    )
    return tfx.dsl.Pipeline(
        pipeline_name=config.run.name,
        pipeline_root=places.artifacts,
        components=[
            *nodes, catalogue_transform, interactions_transform, *([tuner] if tuner else []),
            *([base] if base else []), trainer, baseline, evaluator, infra_validator, pusher,
            *registration,
        ],
        metadata_connection_config=places.metadata,
        enable_cache=config.run.enable_cache,
        beam_pipeline_args=config.run.beam_pipeline_args,
    )  # fmt: skip


def training_options(
    config: Configuration, *, encoder_fingerprint: str, rules: Rules | None = None
) -> dict[str, Any]:
    """What `models.options.TrainerOptions` reads, as JSON values."""
    return {
        section: getattr(config, section).model_dump(mode="json")
        for section in (
            "encoder", "features", "model", "rating", "pretraining", "finetuning", "compression",
            "training", "continual", "exposure", "index", "tracking",
        )
    } | {
        "encoder_fingerprint": encoder_fingerprint,
        "history_length": config.data.history_length,
        "splits": config.data.options().splits(),
        "rules": rules and rules.model_dump(mode="json"),
    }  # fmt: skip


class _Lane(NamedTuple):
    nodes: list[BaseNode]
    statistics: tfx.types.BaseChannel
    schema: tfx.types.BaseChannel


def _validated(
    examples: tfx.types.BaseChannel,
    lane: str,
    config: Configuration,
    *,
    by_span: bool,
    lookups: Lookups,
    schemas: str,
) -> _Lane:
    """Statistics, curated schema and validators of one lane."""
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
    return _Lane(nodes, statistics.outputs["statistics"], schema.outputs["schema"])


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
