"""The pipeline definition: `create_pipeline` builds the graph and touches nothing else.

Two lanes run side by side until training. The catalogue's lane handles text, each item once; the
interactions' lane handles ids. Runners decide where the graph runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode

from components.accounted import AccountedEvaluator, AccountedTransform
from components.ingestion.component import DataFolderExampleGen
from components.push_terms import PushTerms
from components.trainer import TwoTowerTrainer
from components.tuner import TwoTowerTuner
from models import features
from models.options import TrainerOptions
from models.rules import Rules
from pipeline.config import Configuration
from pipeline.evaluation import evaluation_config
from pipeline.into_service import create_infra_validator, create_pusher
from pipeline.lanes import SCHEMAS, Lane, create_lane
from pipeline.lookups import Lookups, MetadataLookups


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
    ingestion = DataFolderExampleGen(
        data=data, options=config.data.options(), fingerprint=fingerprints.data
    )
    interactions = ingestion.outputs["interactions"]
    lanes = {
        lane: create_lane(
            ingestion.outputs[lane], lane, config, by_span=by_span, lookups=lookups,
            schemas=places.schemas,
        )
        for lane in ("catalogue", "interactions")
    }  # fmt: skip
    transforms = _transforms(ingestion, lanes, config, fingerprints)
    options = training_options(config, encoder_fingerprint=fingerprints.encoder, rules=rules)
    goes_on = by_span and config.continual.start == "warm"
    training = _training(
        _prepared(ingestion, *transforms), options.model_dump(mode="json"), config,
        base=lookups.served_model_of_older_span(interactions) if goes_on else None,
    )  # fmt: skip
    model = training[-1].outputs["model"]
    baseline = lookups.served_model()
    evaluator, infra_validator = judges = _judges(
        model, baseline.outputs["model"], interactions, config, by_span=by_span
    )
    blessings = {
        "model_blessing": evaluator.outputs["blessing"],
        "infra_blessing": infra_validator.outputs["blessing"],
    }
    terms = PushTerms(
        keep=config.push.keep,
        canary=config.push.canary,
        override=exceptions.override,
        withdrawn=exceptions.withdrawn,
    )
    pusher = create_pusher(**blessings, serving=places.serving, terms=terms)
    registration = lookups.registration(
        {
            "pushed_model": pusher.outputs["pushed_model"],
            **blessings,
            "model": model,
            "examples": interactions,
            **{f"statistics_{lane}": found.statistics for lane, found in lanes.items()},
        }
    )
    return tfx.dsl.Pipeline(
        pipeline_name=config.run.name,
        pipeline_root=places.artifacts,
        components=[
            ingestion, *(node for lane in lanes.values() for node in lane.nodes), *transforms,
            *training, baseline, *judges, pusher, *registration,
        ],
        metadata_connection_config=places.metadata,
        enable_cache=config.run.enable_cache,
        beam_pipeline_args=config.run.beam_pipeline_args,
    )  # fmt: skip


def _transforms(
    ingestion: BaseNode,
    lanes: Mapping[str, Lane],
    config: Configuration,
    fingerprints: Fingerprints,
) -> tuple[BaseNode, BaseNode]:
    """Transform of the catalogue and of the interactions, after every validator."""
    catalogue = AccountedTransform(
        examples=ingestion.outputs["catalogue"],
        schema=lanes["catalogue"].schema,
        preprocessing_fn="models.preprocessing.preprocess_catalogue",
        splits_config=tfx.proto.SplitsConfig(analyze=[features.ALL], transform=[features.ALL]),
        custom_config={
            "encoder": config.encoder.name,
            "encoder_fingerprint": fingerprints.encoder,
            **config.features.model_dump(),
        },
        disable_statistics=True,  # over token ids they cost more than they tell
    ).with_id("TransformCatalogue")
    # Only analysed: nothing about an id has to be transformed, so nothing is written again.
    interactions = tfx.components.Transform(
        examples=ingestion.outputs["interactions"],
        schema=lanes["interactions"].schema,
        preprocessing_fn="models.preprocessing.preprocess_interactions",
        splits_config=tfx.proto.SplitsConfig(analyze=[features.TRAIN]),
        custom_config={},
        materialize=False,
        disable_statistics=True,
    ).with_id("TransformInteractions")
    # Nothing is computed from data that a validator has not passed.
    for validator in [n for lane in lanes.values() for n in lane.nodes if "Validator" in n.id]:
        catalogue.add_upstream_node(validator)
        interactions.add_upstream_node(validator)
    return catalogue, interactions


def _prepared(
    ingestion: BaseNode, catalogue: BaseNode, interactions: BaseNode
) -> dict[str, tfx.types.BaseChannel]:
    """What Tuner and Trainer read, of ingestion and the two Transforms."""
    return {
        "interactions": ingestion.outputs["interactions"],
        "interactions_graph": interactions.outputs["transform_graph"],
        "catalogue": catalogue.outputs["transformed_examples"],
        "catalogue_graph": catalogue.outputs["transform_graph"],
    }


def _training(
    prepared: Mapping[str, tfx.types.BaseChannel],
    options: dict[str, Any],
    config: Configuration,
    *,
    base: BaseNode | None,
) -> list[BaseNode]:
    """The Trainer, last, after the Tuner and the node that finds the model to go on from."""
    tuner = (
        TwoTowerTuner(**prepared, options=options, trials=config.tuner.trials)
        if config.tuner.enabled
        else None
    )
    trainer = TwoTowerTrainer(
        **prepared,
        options=options,
        hyperparameters=tuner and tuner.outputs["best_hyperparameters"],
        base_model=base and base.outputs["model"],
    )
    return [node for node in (tuner, base, trainer) if node is not None]


def _judges(
    model: tfx.types.BaseChannel,
    baseline: tfx.types.BaseChannel,
    interactions: tfx.types.BaseChannel,
    config: Configuration,
    *,
    by_span: bool,
) -> tuple[BaseNode, BaseNode]:
    """Evaluator and infra validator of the candidate."""
    evaluator = AccountedEvaluator(
        examples=interactions,
        example_splits=[features.EVAL, features.NEW_ITEMS],
        model=model,
        baseline_model=baseline,
        eval_config=evaluation_config(config.gates.model, by_span=by_span),
    ).with_id("Evaluator")
    infra_validator = create_infra_validator(
        model,
        examples=interactions,
        requests=tfx.proto.RequestSpec(
            tensorflow_serving=tfx.proto.TensorFlowServingRequestSpec(
                signature_names=["serving_default"]
            ),
            num_examples=config.gates.infra_requests,
            make_warmup=True,
            split_name=features.TRAIN,  # the one split that is never empty
        ),
    )
    return evaluator, infra_validator


def training_options(
    config: Configuration, *, encoder_fingerprint: str = "", rules: Rules | None = None
) -> TrainerOptions:
    """What training depends on.

    Args:
        config: whose sections of the same names these options have.
        encoder_fingerprint: of the encoder's files; only a cache needs it.
        rules: that were read from the file which the configuration names.
    """
    shared = (Configuration.model_fields.keys() & TrainerOptions.model_fields.keys()) - {"rules"}
    return TrainerOptions(
        **{section: getattr(config, section) for section in shared},
        encoder_fingerprint=encoder_fingerprint,
        history_length=config.data.history_length,
        splits=config.data.options().splits(),
        rules=rules,
    )
