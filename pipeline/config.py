"""The one typed, frozen configuration of a run, read from one documented file.

Every default lives in `default.yaml`, next to its explanation, and nowhere else. A file given by
the user and `key=value` settings are laid over it; an unknown key is an error, not a surprise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from components.ingestion.options import DataOptions
from models.errors import BadInput
from models.faults import explain
from models.options import (
    CompressionOptions,
    ContinualOptions,
    EncoderOptions,
    ExploreOptions,
    ExposureOptions,
    FeatureOptions,
    FineTuningOptions,
    Folder,
    IndexOptions,
    ModelOptions,
    PretrainingOptions,
    RatingOptions,
    ScratchOptions,
    TrackingOptions,
    TrainingOptions,
    TunerOptions,
)
from models.rules import Rules, read_rules
from models.section import Section
from models.yaml_once import load_values
from pipeline import beam_profiles
from pipeline.beam_profiles import BeamRunner

DEFAULT_FILE: Final = Path(__file__).parent / "default.yaml"


class RunOptions(Section):
    """Where a run reads and writes, and how TFX runs it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the TFX pipeline.")
    enable_cache: bool = Field(description="Reuse a node's output where nothing it reads changed.")
    beam_runner: BeamRunner = Field(description="Profile of flags; see `pipeline.beam_profiles`.")
    beam_args: tuple[str, ...] = Field(description="Flags of Beam beside those of the profile.")

    @property
    def beam_pipeline_args(self) -> list[str]:
        """What Beam is given."""
        return beam_profiles.beam_pipeline_args(self.beam_runner, self.beam_args)

    @model_validator(mode="after")
    def _beam_can_run_so(self) -> RunOptions:
        if found := beam_profiles.fault(self.beam_runner, self.beam_args):
            raise ValueError(found)
        return self


class DataConfig(DataOptions):
    """The data folder and how it is read."""

    path: Folder | None = Field(description="The data folder; null is the shipped sample.")

    def options(self) -> DataOptions:
        """All but the path: what ingestion is given beside it."""
        return DataOptions(**self.model_dump(exclude={"path"}))


class Gate(Section):
    """A bound on one metric in one slice, and on its change against the baseline."""

    metric: str = Field(description="squared_error, recall_at_20, cold_recall_at_20, ...")
    slice: Literal[
        "overall", "seen", "new", "earlier", "latest", "earlier_new", "latest_new",
        "seen_for_unknown_users", "seen_for_light_users", "seen_for_heavy_users",
        "new_for_unknown_users", "new_for_light_users", "new_for_heavy_users",
        "seen_niche_items", "seen_middle_items", "seen_popular_items",
        "new_niche_items", "new_middle_items", "new_popular_items",
    ]  # fmt: skip
    direction: Literal["higher", "lower"] = Field(description="Which direction is better.")
    bound: float = Field(description="Worst value that is accepted.")
    tolerance: float | None = Field(
        ge=0, description="How much worse than the baseline, absolute; null looks at the bound."
    )


class GateOptions(Section):
    """What stops a run."""

    model: tuple[Gate, ...] = Field(min_length=1)
    drift: float = Field(gt=0, description="Jensen-Shannon divergence between runs.")
    skew: float = Field(gt=0, description="The same between train and eval.")
    infra_requests: int = Field(ge=1, description="Examples sent to the candidate.")


class RuleOptions(Section):
    """Rules that no model can override."""

    file: str | None = Field(description="YAML file of rules; null for none.")

    def read(self) -> Rules | None:
        """What the file states.

        Raises:
            BadInput: it can't be read, or a rule is not one.
        """
        return read_rules(Path(self.file)) if self.file else None


class PushOptions(Section):
    """What becomes of a model that passed the gates."""

    canary: bool = Field(description="Push as canary; `stable` stays where it is.")
    keep: int = Field(ge=2, description="Newest versions that stay on disk.")


class TaskOptions(Section):
    """What one task of a compiled pipeline gets; what is None is left to the entry for `all`."""

    task: str = Field(min_length=1, description="Id of a node, or `all`.")
    cpu: float | None = Field(default=None, gt=0, description="Cores, at most.")
    memory: float | None = Field(default=None, gt=0, description="10^9 bytes, at most.")
    accelerator: str | None = Field(default=None, description="Kind, as the cluster names it.")
    accelerators: int | None = Field(default=None, ge=1, description="How many; 1 where not given.")
    node_labels: Mapping[str, str] | None = Field(
        default=None, description="Of the node to run on."
    )
    tolerations: tuple[str, ...] | None = Field(default=None, description="Keys of its taints.")
    cache: bool | None = Field(default=None, description="Whether an earlier output may be taken.")
    retries: int | None = Field(default=None, ge=0, description="After a failure.")

    @model_validator(mode="after")
    def _a_number_is_of_a_kind(self) -> TaskOptions:
        if self.accelerators is not None and self.accelerator is None:
            raise ValueError(
                f"accelerators of {self.task} needs accelerator, which names their kind"
            )
        return self


class KubeflowOptions(Section):
    """What `debut compile` writes beside the graph."""

    image: str = Field(min_length=1, description="Of every task.")
    pipeline_root: str | None = Field(
        pattern=r"^(gs|s3|minio)://.+", description="Folder of an object store for artifacts."
    )
    claim: str = Field(min_length=1, description="Persistent volume claim that every task mounts.")
    mount: str = Field(pattern=r"^/.+", description="Folder of pushed versions and the registry.")
    spans: bool = Field(description="Whether the data has several spans.")
    backoff: int = Field(ge=0, description="Seconds before the first retry.")
    tasks: tuple[TaskOptions, ...] = Field(min_length=1)


class Configuration(Section):
    """Everything a run depends on besides the root folder."""

    run: RunOptions
    data: DataConfig
    encoder: EncoderOptions
    scratch: ScratchOptions
    features: FeatureOptions
    model: ModelOptions
    rating: RatingOptions
    pretraining: PretrainingOptions
    finetuning: FineTuningOptions
    compression: CompressionOptions
    training: TrainingOptions
    continual: ContinualOptions
    exposure: ExposureOptions
    index: IndexOptions
    tracking: TrackingOptions
    tuner: TunerOptions
    gates: GateOptions
    rules: RuleOptions
    push: PushOptions
    explore: ExploreOptions
    kubeflow: KubeflowOptions

    @model_validator(mode="after")
    def _encoder_is_trained_where_that_is_asked_for(self) -> Configuration:
        if self.encoder.trainable_layers:
            return self
        asked = {
            "encoder.adaptation": self.encoder.adaptation != "full",
            "pretraining.steps": self.pretraining.steps,
            "finetuning.token_dropout": self.finetuning.token_dropout,
            "finetuning.adversarial_epsilon": self.finetuning.adversarial_epsilon,
            "finetuning.ema_momentum": self.finetuning.ema_momentum,
            "finetuning.self_training_pairs": self.finetuning.self_training_pairs,
        }
        if names := ", ".join(name for name, value in asked.items() if value):
            raise ValueError(
                f"encoder.trainable_layers is 0, so {names} would do nothing; set it to the number "
                "of top layers that are fine-tuned, or to -1 for all"
            )
        return self

    @model_validator(mode="after")
    def _a_compressed_encoder_is_one_plain_bert(self) -> Configuration:
        if not self.compression.is_on:
            return self
        if not self.encoder.shared:
            raise ValueError(
                "compression makes one small encoder, for items and profiles; set encoder.shared "
                "to true"
            )
        if self.encoder.adaptation != "full":
            raise ValueError(
                f"compression can't read the weights that encoder.adaptation "
                f"{self.encoder.adaptation!r} adds; set it to full"
            )
        return self


RUN_SECTIONS: Final = tuple(
    name for name in Configuration.model_fields if name not in ("explore", "kubeflow")
)
"""What `debut run` reads; the others are of `debut explore` and `debut compile`."""


def load_configuration(
    file: Path | None = None,
    settings: Sequence[str] = (),
    *,
    data: Path | str | None = None,
    read: Sequence[str] = tuple(Configuration.model_fields),
) -> Configuration:
    """Read the defaults, lay a file over them, then `section.key=value` settings.

    Values of settings are YAML, so `null`, `0.5` and `[a, b]` mean what they say.

    Args:
        file: YAML with the options that differ; None for none.
        settings: over the file.
        data: `data.path` as it stands, over both; None leaves it to them.
        read: sections and options that the command reads. Commands share a file, so it may hold
            others too; a setting is of this command alone.

    Raises:
        BadInput: an unreadable file, an unknown key, a value outside its range, or a setting that
            would do nothing.
    """
    values = _read(DEFAULT_FILE)
    if file is not None:
        _overlay(values, _read(file), str(file))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise BadInput(f"--set {setting!r} has no '='. Write --set section.key=value.")
        name = key.strip()
        _overlay(values, _nested(name.split("."), _parse(text, setting)), f"--set {setting}")
        if not any(name == one or name.startswith(f"{one}.") for one in read):
            raise BadInput(
                f"--set {setting} would do nothing: this command reads of the configuration "
                f"{', '.join(read)}. Leave it out."
            )
    if data is not None:
        values["data"]["path"] = str(data)
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise BadInput(f"The configuration is not valid. {explain(error)}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        content = load_values(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(
            f"The configuration {file} can't be read ({error}). Give a YAML file in UTF-8."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadInput(f"The configuration {file} must hold sections such as 'training:'.")
    return content


def _parse(text: str, setting: str) -> Any:
    try:
        return load_values(text)
    except yaml.YAMLError as error:
        raise BadInput(f"--set {setting!r}: the value is not YAML ({error}).") from error


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    nested: dict[str, Any] = value
    return nested


def _overlay(base: dict[str, Any], top: dict[str, Any], source: str, path: str = "") -> None:
    for key, value in top.items():
        name = f"{path}{key}"
        if key not in base:
            known = ", ".join(sorted(map(str, base)))
            raise BadInput(f"{source}: there is no option {name!r}. Known here: {known}.")
        if isinstance(base[key], dict):
            if not isinstance(value, dict):
                raise BadInput(f"{source}: {name!r} is a section; set one of its options.")
            _overlay(base[key], value, source, f"{name}.")
        else:
            base[key] = value
