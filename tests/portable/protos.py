"""What a cluster is sent: the portable form of a Beam pipeline, and what Flink or Spark can't run.

Both take their Python pipelines as this proto. What follows are the limits of their translators
(`FlinkBatchPortablePipelineTranslator`, `SparkBatchPortablePipelineTranslator`, and the fuser that
both use), so no cluster is needed to see that a stage would be refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner

# Run by the cluster itself; a Reshuffle is one, its inside is not looked at.
NATIVE = {
    "beam:transform:impulse:v1",
    "beam:transform:flatten:v1",
    "beam:transform:group_by_key:v1",
    "beam:transform:reshuffle:v1",
}
# Run by Python workers, in executable stages.
FUSED = {
    "beam:transform:pardo:v1",
    "beam:transform:sdf_pair_with_restriction:v1",
    "beam:transform:sdf_split_and_size_restrictions:v1",
    "beam:transform:sdf_process_sized_element_and_restrictions:v1",
    "beam:transform:combine_per_key_precombine:v1",
    "beam:transform:combine_per_key_merge_accumulators:v1",
    "beam:transform:combine_per_key_extract_outputs:v1",
    "beam:transform:combine_per_key_convert_to_accumulators:v1",
    "beam:transform:combine_grouped_values:v1",
    "beam:transform:window_into:v1",
}
SIDE_INPUTS = {"beam:side_input:iterable:v1", "beam:side_input:multimap:v1"}
# State and timers are more than Spark has.
REQUIREMENTS = {"beam:requirement:pardo:splittable_dofn:v1"}


@contextmanager
def recorded() -> Iterator[list[api.Pipeline]]:
    """The portable form of every pipeline that runs meanwhile in this process."""
    protos: list[api.Pipeline] = []
    run = FnApiRunner.run_pipeline

    def recording(runner, pipeline, options):
        protos.append(PortableRunner.get_proto_pipeline(pipeline, options))
        return run(runner, pipeline, options)

    with mock.patch.object(FnApiRunner, "run_pipeline", recording):
        yield protos


def names(proto: api.Pipeline) -> set[str]:
    """Names of the steps that a pipeline is written in."""
    return {
        transform.unique_name.split("/")[0] for transform in proto.components.transforms.values()
    }


def unportable(proto: api.Pipeline) -> list[str]:
    """What Flink or Spark would refuse, each with its reason."""
    refused = [f"requirement {one}" for one in set(proto.requirements) - REQUIREMENTS]
    for transform in _leaves(proto):
        urn, name = transform.spec.urn, transform.unique_name
        if urn in NATIVE:
            continue
        if urn not in FUSED:
            refused.append(f"{name}: {urn}")
        elif transform.environment_id not in proto.components.environments:
            refused.append(f"{name}: no environment")
        if urn == "beam:transform:pardo:v1":
            payload = api.ParDoPayload.FromString(transform.spec.payload)
            patterns = {one.access_pattern.urn for one in payload.side_inputs.values()}
            refused += [f"{name}: side input {one}" for one in patterns - SIDE_INPUTS]
            if payload.state_specs or payload.timer_family_specs:
                refused.append(f"{name}: state or timers")
    return refused


def _leaves(proto: api.Pipeline) -> Iterator[api.PTransform]:
    pending = list(proto.root_transform_ids)
    while pending:
        transform = proto.components.transforms[pending.pop()]
        if transform.spec.urn in NATIVE or not transform.subtransforms:
            # One without inside and without a task hands on what it was given.
            if transform.spec.urn:
                yield transform
        else:
            pending += transform.subtransforms
