"""From a configuration to the file that Kubeflow Pipelines or Vertex AI Pipelines runs.

Compiling looks at no data and needs no cluster: the paths are those that the containers see.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from ml_metadata.proto import metadata_store_pb2

from models.encoders.folder import PACKAGED, SCRATCH
from models.errors import BadInput
from pipeline.config import Configuration
from pipeline.encoder_fit import fitting_encoder
from pipeline.evaluation import check_gates
from pipeline.kubeflow.lookups import RegistryLookups
from pipeline.kubeflow.paths import Volume, in_image
from pipeline.kubeflow.tasks import Spec, check_constants, platform_spec, set_options
from pipeline.kubeflow.tfx_compiler import ENTRY_POINT, compile_job
from pipeline.lanes import SCHEMAS
from pipeline.layout import SAMPLE
from pipeline.pipeline import Fingerprints, Places, create_pipeline

Runner = Literal["kubeflow", "vertex"]

_BUCKETS: Final = "/gcs/"
# Beam's runners whose workers are in the task's container, where its outputs are.
_INSIDE: Final = ("direct", "multi_process", "prism")


def compile_pipeline(config: Configuration, runner: Runner) -> str:
    """The text of the file: YAML for open-source Kubeflow Pipelines, JSON for Vertex.

    Raises:
        BadInput: `kubeflow.tasks` names what is not there, the encoder, the rules or a gate can't
            be used, or the runner could not run it.
    """
    _check_beam(config)
    if runner == "vertex":
        _check_for_vertex(config)
    check_gates(config.gates.model, by_span=config.kubeflow.spans)
    job = compile_job(_graph(config), image=config.kubeflow.image, commands=ENTRY_POINT)
    spec = job["pipelineSpec"]
    set_options(spec, config.kubeflow)
    check_constants(spec)
    if runner == "vertex":
        return json.dumps(job, indent=1, sort_keys=True) + "\n"
    return _yaml_documents(spec, config)


def _graph(config: Configuration) -> Any:
    volume = Volume(config.kubeflow.mount)
    return create_pipeline(
        config,
        data=config.data.path or in_image(SAMPLE),
        # What the data holds when it runs is not known now, so ingestion is never cached.
        fingerprints=Fingerprints(data="", encoder=_encoder_fingerprint(config)),
        places=Places(
            artifacts=config.kubeflow.pipeline_root or "",
            serving=volume.pushed_to,
            metadata=metadata_store_pb2.ConnectionConfig(),  # the cluster has its own
            schemas=in_image(SCHEMAS),
        ),
        by_span=config.kubeflow.spans,
        # A file of this machine: its content goes into the compiled pipeline.
        rules=config.rules.read(),
        lookups=RegistryLookups(registry=volume.registry, pushed_to=volume.pushed_to),
    )


def _encoder_fingerprint(config: Configuration) -> str:
    """Of an encoder that can be seen from here; the containers may see others."""
    name = config.encoder.name
    if name == SCRATCH:
        raise BadInput(
            "encoder.name is 'scratch', which only `debut run` trains. Run it once, copy the "
            "folder under encoders/ of its root to where the containers see it, and give that path."
        )
    if name != PACKAGED and not Path(name).expanduser().is_dir():
        return ""
    return fitting_encoder(config).fingerprint()


def _check_beam(config: Configuration) -> None:
    runner = config.run.beam_runner
    if runner not in _INSIDE:
        raise BadInput(
            f"run.beam_runner is {runner!r}, whose workers are other machines. What they write is "
            "not in the container of the task, from which Kubeflow and Vertex take its outputs. "
            f"Set it to {', '.join(_INSIDE[:-1])} or {_INSIDE[-1]}, and give a task more with "
            "kubeflow.tasks."
        )


def _check_for_vertex(config: Configuration) -> None:
    root, mount = config.kubeflow.pipeline_root, config.kubeflow.mount
    if root is None or not root.startswith("gs://"):
        raise BadInput(
            "Vertex AI Pipelines keeps artifacts in Cloud Storage. Set kubeflow.pipeline_root to a "
            "folder such as gs://bucket/debut."
        )
    if not mount.startswith(_BUCKETS):
        raise BadInput(
            f"Vertex AI Pipelines mounts no claims, only buckets below {_BUCKETS}, and "
            f"kubeflow.mount is {mount!r}. Set it to a folder such as {_BUCKETS}bucket/models."
        )


def _yaml_documents(spec: Spec, config: Configuration) -> str:
    if config.kubeflow.pipeline_root is not None:
        spec["defaultPipelineRoot"] = config.kubeflow.pipeline_root
    documents = [spec, platform_spec(spec, config.kubeflow)]
    return str(yaml.safe_dump_all(documents, sort_keys=True, width=100))
