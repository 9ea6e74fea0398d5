"""The nodes that every graph ends with: a model server tries the model, then it is pushed."""

from __future__ import annotations

from typing import Final

from tfx import v1 as tfx
from tfx.types import BaseChannel

from components.infra_validator import EmbeddedInfraValidator
from components.push_terms import PushTerms
from components.pusher import AtomicPusher
from pipeline.layout import MODEL_NAME

# The client protocol that InfraValidator speaks; see `EmbeddedInfraValidator`.
_SERVING_TAG: Final = "2.16.1"


def create_infra_validator(
    model: BaseChannel,
    *,
    examples: BaseChannel | None = None,
    requests: tfx.proto.RequestSpec | None = None,
) -> EmbeddedInfraValidator:
    """Build the node that has a server load a Model and answer.

    Args:
        model: the Model.
        examples: that requests are made of; None to have it loaded only, as suffices for a model
            with warm-up requests: loading it asks what customers ask.
        requests: how they are made; None with `examples`.
    """
    return EmbeddedInfraValidator(
        model=model,
        examples=examples,
        serving_spec=tfx.proto.ServingSpec(
            tensorflow_serving=tfx.proto.TensorFlowServing(tags=[_SERVING_TAG]),
            local_docker=tfx.proto.LocalDockerConfig(),
            model_name=MODEL_NAME,
        ),
        validation_spec=tfx.proto.ValidationSpec(max_loading_time_seconds=120, num_tries=2),
        request_spec=requests,
    )


def create_pusher(
    *,
    infra_blessing: BaseChannel,
    serving: str,
    terms: PushTerms,
    model: BaseChannel | None = None,
    model_blessing: BaseChannel | None = None,
) -> AtomicPusher:
    """Build the node that pushes.

    Args:
        infra_blessing: of the node above.
        serving: the folder of the versions.
        terms: how it is pushed.
        model: the Model; None where the infra blessing has it, with the warm-up requests.
        model_blessing: of Evaluator; None where another gate has decided.
    """
    return AtomicPusher(
        model=model,
        model_blessing=model_blessing,
        infra_blessing=infra_blessing,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=serving)
        ),
        custom_config=terms.to_config(),
    )
