from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from models.errors import BadInput
from pipeline.config import DEFAULT_FILE, RUN_SECTIONS, Configuration, load_configuration


def written(folder, text):
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def documented_leaves():
    """(dotted key, line of the file) of every option."""
    lines = DEFAULT_FILE.read_text(encoding="utf-8").splitlines()
    document = yaml.compose("\n".join(lines))
    assert document is not None
    return [
        (f"{section.value}.{key.value}", lines[key.start_mark.line])
        for section, options in document.value
        for key, _ in options.value
    ]


def test_the_defaults_are_a_valid_configuration_of_exactly_the_known_options():
    config = load_configuration()
    sections = config.model_dump()
    found = {f"{section}.{key}" for section, options in sections.items() for key in options}
    assert found == {key for key, _ in documented_leaves()}


@pytest.mark.parametrize(("key", "line"), documented_leaves())
def test_every_default_says_what_it_does(key, line):
    assert "# " in line, f"{key} has no comment in {DEFAULT_FILE.name}"


def test_a_file_overlays_only_what_it_names(tmp_path):
    file = written(tmp_path, "training:\n  steps: 7\nencoder:\n  name: my/bert\n")
    default, config = load_configuration(), load_configuration(file)
    assert (config.training.steps, config.encoder.name) == (7, "my/bert")
    assert config.training.seed == default.training.seed
    assert config.model_dump(exclude={"training", "encoder"}) == default.model_dump(
        exclude={"training", "encoder"}
    )


def test_settings_come_after_the_file_and_the_last_one_wins(tmp_path):
    file = written(tmp_path, "training:\n  steps: 7\n")
    settings = ["training.steps=8", "training.steps=9"]
    assert load_configuration(file, settings).training.steps == 9


def test_an_empty_file_changes_nothing(tmp_path):
    assert load_configuration(written(tmp_path, "# nothing yet\n")) == load_configuration()


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("data.rating_max=5", "data", "rating_max", 5.0),
        ("data.rating_max=null", "data", "rating_max", None),
        ("data.path=a=b", "data", "path", "a=b"),
        ('data.path="007"', "data", "path", "007"),
        ("encoder.shared=false", "encoder", "shared", False),
        ("run.beam_args=[--a, --b]", "run", "beam_args", ("--a", "--b")),
        ("run.beam_args=[]", "run", "beam_args", ()),
        (" training.learning_rate = 1.0e-3", "training", "learning_rate", 0.001),
    ],
)
def test_values_of_settings_are_yaml(setting, section, key, value):
    config = load_configuration(settings=[setting])
    assert getattr(getattr(config, section), key) == value


def one_gate(*, bound="1", tolerance="0"):
    values = f"slice: new, direction: lower, bound: {bound}, tolerance: {tolerance}"
    return f"gates.model=[{{metric: squared_error, {values}}}]"


def test_a_list_is_replaced_as_a_whole():
    [only] = load_configuration(settings=[one_gate()]).gates.model
    assert (only.slice, only.bound) == ("new", 1.0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.step=5", r"--set training.step=5: there is no option 'training.step'. Known"),
        (
            "trainng.steps=5",
            r"no option 'trainng'. Known here: compression, continual, data",
        ),
        ("training=5", r"'training' is a section"),
        ("training.steps", r"has no '='"),
        ("training.steps=[1", r"not YAML"),
        ("data.split_salt=2024-13-45", r"not YAML \(line 1: month must be .*put quotes"),
        ("kubeflow.tasks=[{task: a, task: b}]", r"not YAML \(line 1 says 'task' a second time"),
        ("training.steps=many", r"training.steps is 'many': .*valid integer"),
        ("training.steps=-1", r"training.steps is -1: .*greater than or equal to 0"),
        ("training.steps.now=1", r"training.steps: .*valid integer"),
        ("encoder.name=null", r"encoder.name is None: .*valid string"),
        ("data.path=gs://shop/data", r"data.path is 'gs://shop/data': no URI .*the path that the"),
        ("training.checkpoints=s3://b/kept", r"training.checkpoints is 's3://b/kept': no URI"),
        ("encoder.name=gs://b/bert", r"encoder.name is 'gs://b/bert': no URI"),
        ("kubeflow.claim=null", r"kubeflow.claim is None: .*valid string"),
        ("data.rating_max=.inf", r"data.rating_max is inf: .*finite"),
        ("data.pseudonym_key=my key", r"data.pseudonym_key is 'my key'"),
        ("run.name=My Shop", r"run.name is 'My Shop'"),
        ("rating.head=deep", r"rating.head is 'deep': .*'linear', 'mlp', 'cnn' or 'rnn'"),
        ("encoder.adaptation=ia3", r"encoder.adaptation is 'ia3'"),
        (
            "encoder.adaptation_size=0",
            r"encoder.adaptation_size is 0: .*greater than",
        ),
        ("finetuning.token_dropout=1", r"finetuning.token_dropout is 1"),
        ("finetuning.ema_momentum=1", r"finetuning.ema_momentum is 1"),
        ("finetuning.adversarial_epsilon=-1", r"finetuning.adversarial_epsilon is -1"),
        ("pretraining.masked_share=0", r"pretraining.masked_share is 0"),
        ("tuner.trials=0", r"tuner.trials is 0"),
        ("training.seed=-1", r"training.seed is -1"),
        (f"training.seed={2**32}", r"training.seed is 4294967296"),
        ("gates.drift=.nan", r"gates.drift is nan: .*finite"),
        ("training.learning_rate=.inf", r"training.learning_rate is inf: .*finite"),
        ("explore.optimism=.inf", r"explore.optimism is inf: .*finite"),
        (one_gate(bound=".nan"), r"gates.model.0.bound is nan: .*finite"),
        (one_gate(tolerance=".inf"), r"gates.model.0.tolerance is inf: .*finite"),
        ("gates.model=[]", r"gates.model: .*at least 1"),
        ("gates.model=[{metric: x}]", r"gates.model.0.slice: Field required"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(setting, message):
    with pytest.raises(BadInput, match=message):
        load_configuration(settings=[setting])


@pytest.mark.parametrize(
    ("read", "kept", "idle"),
    [
        (("run.beam_runner", "run.beam_args"), "run.beam_args=[--a]", "run.enable_cache=false"),
        (("explore",), "explore.share=0.2", "training.steps=3"),
        (RUN_SECTIONS, "training.steps=3", "explore.share=0.2"),
        (RUN_SECTIONS, "data.history_length=3", "kubeflow.claim=other"),
    ],
)
def test_a_setting_that_a_command_does_not_read_is_refused_and_a_shared_file_is_not(
    tmp_path, read, kept, idle
):
    load_configuration(settings=[kept], read=read)
    with pytest.raises(BadInput, match=rf"--set {idle} would do nothing: .*{read[-1]}\. Leave"):
        load_configuration(settings=[kept, idle], read=read)
    option, _, value = idle.partition("=")
    section, _, key = option.partition(".")
    load_configuration(written(tmp_path, f"{section}: {{{key}: {value}}}\n"), [kept], read=read)


def test_an_empty_rating_scale_is_refused_without_printing_the_section():
    with pytest.raises(BadInput, match=r"data: rating_min \(5\) must be below rating_max \(1\)\.$"):
        load_configuration(settings=["data.rating_min=5", "data.rating_max=1"])


@pytest.mark.parametrize(
    "setting",
    [
        "encoder.adaptation=lora",
        "pretraining.steps=5",
        "finetuning.token_dropout=0.1",
        "finetuning.adversarial_epsilon=1",
        "finetuning.ema_momentum=0.9",
        "finetuning.self_training_pairs=10",
    ],
)
def test_what_a_frozen_encoder_would_not_do_is_refused(setting):
    name = setting.partition("=")[0]
    with pytest.raises(
        BadInput, match=rf"not valid. encoder.trainable_layers is 0, so {name} would do nothing"
    ):
        load_configuration(settings=[setting])
    load_configuration(settings=[setting, "encoder.trainable_layers=-1"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: [", r"mine\.yaml can't be read"),
        ("- training\n", r"mine\.yaml must hold sections"),
        ("training:\n  pace: 1\n", r"mine\.yaml: there is no option 'training\.pace'"),
        ("training: 1\n", r"mine\.yaml: 'training' is a section"),
        (
            "data: {pseudonym_key: KEY}\ntraining: {steps: 1}\ndata: {rating_max: 5}\n",
            r"mine\.yaml can't be read \(line 3 says 'data' a second time; put what belongs to it",
        ),
        ("data:\n  path: a\n  path: b\n", r"line 3 says 'path' a second time"),
        (
            "data:\n  split_salt: 2024-13-45\n",
            r"mine\.yaml can't be read \(line 2: month must be in 1\.\.12; put quotes",
        ),
        ("[" * 5000, r"mine\.yaml can't be read \(what it holds is nested too deep"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        load_configuration(written(tmp_path, text))


def test_sections_that_share_their_options_are_no_repetition(tmp_path):
    text = """
    kubeflow:
      tasks:
        - &small {task: a, cpu: 1, retries: 2}
        - &sturdy {<<: *small, task: b, retries: 5}
        - {<<: *sturdy, task: c}
    """
    tasks = load_configuration(written(tmp_path, text)).kubeflow.tasks
    assert [(task.task, task.cpu, task.retries) for task in tasks] == [
        ("a", 1, 2), ("b", 1, 5), ("c", 1, 5),
    ]  # fmt: skip


def test_a_missing_file_and_one_that_is_not_text_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere\.yaml can't be read"):
        load_configuration(tmp_path / "nowhere.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"binary\.yaml can't be read"):
        load_configuration(binary)


def test_a_configuration_is_frozen_in_every_section():
    config = load_configuration()
    with pytest.raises(ValidationError, match="frozen"):
        config.run = None  # type: ignore[misc, assignment]
    for section in Configuration.model_fields:
        options = getattr(config, section)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(options, next(iter(type(options).model_fields)), None)


def test_ingestion_gets_the_data_section_without_the_path():
    config = load_configuration(settings=["data.path=shop", "data.history_length=3"])
    options = config.data.options()
    assert options.history_length == 3
    assert not hasattr(options, "path")


def test_the_default_file_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_configuration().run.name == "debut"
    assert Path(DEFAULT_FILE).is_absolute()
