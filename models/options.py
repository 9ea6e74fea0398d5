"""Options of the encoder, of features, of the towers and of training.

They have no defaults here: each value comes from the documented configuration file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from models.rules import Rules
from models.section import Section

# Keys of `FnArgs.custom_config`, the one place where a TFX Trainer hands over more than it knows.
OPTIONS: Final = "options"
BEAM_ARGS: Final = "beam_args"
TRIALS: Final = "trials"
CATALOGUE_FILES: Final = "catalogue_files"
CATALOGUE_GRAPH_PATH: Final = "catalogue_graph_path"
SPLIT_FILES: Final = "split_files"

# A catalogue of up to so many items is scored in full; a larger one gets an index, unless the
# configuration says otherwise.
SMALL: Final = 16384
# Of `TrainerOptions`, what decides the shape of weights and what they read.
_ARCHITECTURE: Final = (
    "encoder", "encoder_fingerprint", "features", "model", "rating", "compression"
)  # fmt: skip

Strategy = Literal["default", "mirrored", "multi_worker_mirrored", "tpu"]
Precision = Literal["float32", "bfloat16", "auto"]
Adaptation = Literal["full", "bitfit", "lora", "adapter", "prefix"]
Start = Literal["warm", "fresh"]
Head = Literal["linear", "mlp", "cnn", "rnn"]
Student = Literal["none", "layers", "static"]
Policy = Literal["none", "linucb", "thompson"]
Search = Literal["auto", "exact", "index"]


def _no_uri(path: str) -> str:
    if "://" in path:
        raise ValueError(
            "no URI is read here; give the path that the store is mounted at, such as "
            "/gcs/BUCKET/FOLDER on Vertex"
        )
    return path


Folder = Annotated[str, AfterValidator(_no_uri)]
"""The path of a folder, on this machine or as the containers of a compiled pipeline see it."""


class EncoderOptions(Section):
    """Which BERT reads the texts, and how much of it is fine-tuned."""

    name: Folder = Field(
        min_length=1, description="Packaged name, `scratch`, local folder, or hub name."
    )
    shared: bool = Field(description="One encoder for items and profiles, or one for each.")
    trainable_layers: int = Field(ge=-1, description="Top layers to fine-tune; 0 none, -1 all.")
    adaptation: Adaptation = Field(description="Which weights of those layers are fine-tuned.")
    adaptation_size: int = Field(
        ge=1, description="Rank of LoRA, width of adapters, length of prefixes."
    )

    @property
    def title(self) -> str:
        """The name, of a folder the last part of its path, which says nothing of the machine."""
        return Path(self.name).name if Path(self.name).is_absolute() else self.name


class ScratchOptions(Section):
    """The encoder that is trained from nothing where `encoder.name` is `scratch`."""

    layers: int = Field(ge=1)
    hidden_size: int = Field(ge=64, multiple_of=64, description="Width; 64 for each head.")
    vocabulary_size: int = Field(ge=100, description="Characters, then words, at most.")
    steps: int = Field(ge=0, description="Of masked words, and as many of telling texts apart.")


class FeatureOptions(Section):
    """What Transform makes of the catalogue's texts and prices."""

    max_tokens: int = Field(ge=8, le=512, description="Word pieces the encoder reads.")
    lexical_tokens: int = Field(ge=8, description="Word pieces the lexical path reads.")
    lexical_size: int = Field(ge=4, le=2048, description="Width of the sketch of the terms.")
    price_buckets: int = Field(ge=2, le=1000, description="Quantile buckets of the price.")


class ModelOptions(Section):
    """Shape of the towers and of what is served with them."""

    embedding_size: int = Field(ge=2, description="Width of an item's embedding.")
    max_anchors: int = Field(ge=1, le=8192, description="Seen items that new ones inherit from.")
    anchors_per_item: int = Field(ge=1, description="Anchors an item attends to when served.")
    teacher_regularization: float = Field(gt=0, description="EASE's ridge, in interactions.")

    def anchors_in(self, items: int) -> int:
        """Anchors an item attends to in a catalogue of so many items.

        In a large one a quarter, or the lists would take more memory than the embeddings.
        """
        return self.anchors_per_item if items <= SMALL else max(self.anchors_per_item // 4, 1)


class RatingOptions(Section):
    """The rating head."""

    head: Head = Field(description="What is added to the linear head, if anything.")


class PretrainingOptions(Section):
    """How the encoder goes on reading masked texts of the catalogue before it is fine-tuned."""

    steps: int = Field(ge=0)
    batch_items: int = Field(ge=1)
    masked_share: float = Field(gt=0, lt=1, description="Of the word pieces.")
    learning_rate: float = Field(gt=0)


class FineTuningOptions(Section):
    """How the encoder's unfrozen layers are fine-tuned before the towers are trained."""

    steps: int = Field(ge=0)
    batch_pairs: int = Field(ge=2, description="Pairs whose items are each other's negatives.")
    accumulation: int = Field(ge=1, description="Such batches whose gradients make one update.")
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    temperature: float = Field(gt=0)
    popularity_exponent: float = Field(ge=0, le=1, description="Of the logQ correction.")
    token_dropout: float = Field(ge=0, lt=1, description="Share of word pieces left out.")
    adversarial_epsilon: float = Field(ge=0, description="Length of the shift of word vectors.")
    ema_momentum: float = Field(ge=0, lt=1, description="Of the average of weights that is kept.")
    self_training_pairs: int = Field(ge=0, description="Unlabelled pairs taken for purchases.")


class CompressionOptions(Section):
    """How the text encoder is made smaller before the towers are trained, and the shelf."""

    student: Student = Field(description="Taught by the encoder, and served in its place.")
    layers: int = Field(ge=1, description="Of a student of layers: the encoder's lowest ones.")
    steps: int = Field(ge=0, description="Updates of a student of layers.")
    pruned_share: float = Field(ge=0, lt=1, description="Of the smallest weights, which become 0.")
    weights: Literal["float32", "int8"] = Field(description="As they are saved and loaded.")

    @property
    def is_on(self) -> bool:
        """Whether anything is done."""
        return self.student != "none" or self.pruned_share > 0 or self.is_in_8_bits

    @property
    def is_in_8_bits(self) -> bool:
        """Whether matrices are rounded."""
        return self.weights == "int8"

    def made_of(self, encoder: str) -> str:
        """What reads the texts, in words, made of an encoder of that name."""
        taught = {
            "none": f"the BERT encoder {encoder}",
            "layers": f"the lowest {self.layers} layers of the BERT encoder {encoder}, taught by "
            "the whole",
            "static": f"word vectors without layers, taught by the BERT encoder {encoder}",
        }
        pruned = f", {self.pruned_share:.0%} of the weights pruned" if self.pruned_share else ""
        rounded = ", in 8 bits" if self.is_in_8_bits else ""
        return f"{taught[self.student]}{pruned}{rounded}"


class TrainingOptions(Section):
    """How the towers are trained."""

    steps: int = Field(ge=0, description="At most; early stopping may end sooner.")
    folds: int = Field(ge=2, description="Simulated launches that are trained on.")
    batch_users: int = Field(ge=1)
    batch_ratings: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    scalar_learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    rating_weight: float = Field(ge=0)
    propensity_exponent: float = Field(ge=0, le=1, description="Of what is taken for propensity.")
    propensity_clip: float = Field(ge=1, description="Of the weights, relative.")
    validate_every: int = Field(ge=1)
    patience: int = Field(ge=1, description="Steps without improvement before stopping.")
    strategy: Strategy = Field(description="How training is distributed (tf.distribute).")
    precision: Precision = Field(description="Of the encoder's arithmetic.")
    checkpoints: Folder | None = Field(
        min_length=1, description="Folder from which a killed training of the encoder goes on."
    )
    seed: int = Field(ge=0, lt=2**32)


class ContinualOptions(Section):
    """How a run over a newer span goes on from the model of an older one."""

    start: Start = Field(description="From the last served model of an older span, or anew.")
    replay: int | None = Field(
        ge=0, description="Interactions of older spans that are trained on; null takes all."
    )
    steps: int = Field(ge=0, description="Training steps of a warm start, at most.")


class TrackingOptions(Section):
    """Where people watch trainings, beside TensorBoard."""

    wandb: str | None = Field(min_length=1, description="Project in Weights & Biases.")
    mlflow: str | None = Field(min_length=1, description="Experiment in MLflow.")
    projected_items: int = Field(ge=1, description="Items in TensorBoard's projector, at most.")


class ExploreOptions(Section):
    """How lists give new items a chance, and learn from what comes of it."""

    policy: Policy = Field(
        description="How the explored places are filled; none for no such place."
    )
    share: float = Field(ge=0, le=1, description="Of the places of a list.")
    budget: int = Field(ge=1, description="Impressions on explored places, for each item.")
    uniform: float = Field(ge=0, le=1, description="Share of them filled with equal chances.")
    reward: Literal["click", "purchase"] = Field(description="What counts as a success.")
    prior_deviation: float = Field(gt=0, description="Of a new item's demand from its promise.")
    optimism: float = Field(ge=0, description="LinUCB's alpha; Thompson's width of the draws.")
    tolerance: float = Field(ge=0, description="Reward per explored place that may be lost.")


class ExposureOptions(Section):
    """How far the exposure of new items is evened out."""

    max_loss: float = Field(ge=0, lt=1, description="Of recall on simulated new items, relative.")


class TunerOptions(Section):
    """The search for better options before training."""

    enabled: bool
    trials: int = Field(ge=1, description="Sets of values that are tried.")


class IndexOptions(Section):
    """How a catalogue is searched for what deserves a full score."""

    search: Search = Field(description="Exactly, by an index, or by size.")
    scanned: int = Field(ge=1, description="Places of the index that are looked at for a user.")

    def is_indexed(self, items: int) -> bool:
        """Whether a catalogue of so many items gets an index."""
        return self.search == "index" or (self.search == "auto" and items > SMALL)


class TrainerOptions(Section):
    """The sections of the configuration that training depends on."""

    encoder: EncoderOptions
    encoder_fingerprint: str  # not read: TFX's cache sees by it that the encoder's files changed
    features: FeatureOptions
    model: ModelOptions
    rating: RatingOptions
    pretraining: PretrainingOptions
    finetuning: FineTuningOptions
    compression: CompressionOptions
    training: TrainingOptions
    continual: ContinualOptions
    exposure: ExposureOptions
    tracking: TrackingOptions
    index: IndexOptions
    history_length: int
    splits: dict[str, float | str]  # of `data`, those that decide what is held out
    rules: Rules | None = None

    @property
    def architecture(self) -> str:
        """What decides the shape of weights and what they read, as JSON."""
        return self.model_dump_json(include=set(_ARCHITECTURE))

    @property
    def warm(self) -> TrainingOptions:
        """Those of a training that goes on from another one."""
        steps = min(self.continual.steps, self.training.steps)
        return self.training.model_copy(update={"steps": steps})

    def with_hyperparameters(self, found: dict[str, Any] | None) -> TrainerOptions:
        """These options with what a Tuner found in their place.

        Args:
            found: configuration of a `keras_tuner.HyperParameters`, whose values are named
                `section.option`; None where nothing was tuned.
        """
        values = self.model_dump()
        for name, value in (found or {}).get("values", {}).items():
            section, option = name.split(".")
            values[section][option] = value
        return TrainerOptions.model_validate(values)
