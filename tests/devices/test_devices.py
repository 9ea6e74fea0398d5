"""Training on several devices is the training on one, and a killed one goes on where it was."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from rich.console import Console

from models.devices.checkpoints import EVERY, Checkpoints, folder_of
from models.devices.fitting import fit
from models.devices.precision import set_precision
from models.devices.strategy import make_strategy
from models.errors import BadInput
from pipeline.config import load_configuration
from pipeline.runner import run_pipeline
from tests.devices.running import losses_of, started

STEPS = 5
BATCHES = list(np.random.default_rng(3).normal(size=(3 * EVERY, 8, 4)).astype(np.float32))


class Line(tf_keras.Model):
    """Learns to answer 1 to everything, as small as a model can be."""

    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(tf.zeros([4, 1]))

    @property
    def trainable_weights(self):
        return [self.weight]

    def train_step(self, inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((inputs @ self.weight - 1.0) ** 2)
        gradients = tape.gradient(loss, [self.weight])
        self.optimizer.apply_gradients(zip(gradients, [self.weight], strict=True))
        return {"loss": loss}


def line():
    model = Line()
    model.compile(tf_keras.optimizers.AdamW(0.1, use_ema=True, ema_momentum=0.9))
    return model


def dying(after):
    """The batches, of which one can't be read."""
    yield from BATCHES[:after]
    raise OSError("The machine is gone")


def test_two_devices_give_the_losses_of_one():
    arguments = ["default", "mirrored", "--devices", 2, "--steps", STEPS]
    one, two = losses_of(started(*arguments))["finetuning"].values()
    assert len(one) == STEPS
    np.testing.assert_allclose(two, one, rtol=1e-4)


@pytest.mark.devices
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("finetuning", ["--accumulation", 2, "--epsilon", 0.1]),
        ("pretraining", []),
        ("teaching", []),
    ],
)
def test_two_devices_train_everything_of_the_encoder_as_one(kind, more):
    arguments = ["default", "mirrored", "--devices", 2, "--steps", STEPS, "--kinds", kind, *more]
    one, two = losses_of(started(*arguments))[kind].values()
    np.testing.assert_allclose(two, one, rtol=1e-4)


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path):
    whole, killed, again = line(), line(), line()
    losses = fit(whole, lambda: iter(BATCHES), steps=len(BATCHES))
    with pytest.raises(tf.errors.OpError, match="The machine is gone"):
        fit(killed, lambda: dying(EVERY + 3), steps=len(BATCHES), checkpoints=tmp_path)
    rest = fit(again, lambda: iter(BATCHES), steps=len(BATCHES), checkpoints=tmp_path)
    np.testing.assert_allclose(rest, losses[EVERY:], rtol=1e-5)
    # The average of the weights, which takes their place at the end, was kept too.
    np.testing.assert_allclose(again.weight, whole.weight, rtol=1e-5)


def test_a_training_goes_on_however_far_it_got(tmp_path):
    model = line()
    model.optimizer.build([model.weight])
    model.optimizer.iterations.assign(8210)  # its square is no number of float32
    Checkpoints(model, tmp_path, steps=10_000).on_train_batch_end(0)
    again = line()
    again.optimizer.build([again.weight])
    Checkpoints(again, tmp_path, steps=10_000)
    assert again.optimizer.iterations == 8210


def test_a_training_has_a_folder_of_its_own_among_the_checkpoints():
    numbers = [np.arange(6)]
    same = folder_of("kept", "options", numbers)
    assert same.parent.name == "kept"
    assert same == folder_of("kept", "options", [np.arange(6)])
    others = [folder_of("kept", "other", numbers), folder_of("kept", "options", [np.arange(7)])]
    assert len({same, *others}) == 3


def test_a_batch_that_cannot_be_dealt_out_evenly_is_refused_with_the_remedy():
    class Three(tf.distribute.OneDeviceStrategy):
        """One device that says it is three: devices are settled once in a process."""

        def distribute_datasets_from_function(self, make, options=None):
            return make(tf.distribute.InputContext(num_replicas_in_sync=3))

    with Three("CPU:0").scope():
        model = line()
    with pytest.raises(BadInput, match=r"8 can't .* 3 devices.*batch_pairs .* multiples of 3"):
        fit(model, lambda: itertools.cycle(BATCHES), steps=1)


def test_workers_that_come_too_late_are_told_what_to_do(monkeypatch):
    tf.zeros([1]).numpy()
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    task = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    with pytest.raises(BadInput, match="processes of its own"):
        make_strategy("multi_worker_mirrored")


@pytest.mark.parametrize(
    "config",
    [
        "{",
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "walker", "index": 0}}',
    ],
)
def test_a_cluster_that_is_none_is_told_by_its_variable(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(BadInput, match=r"TF_CONFIG describes no cluster"):
        make_strategy("multi_worker_mirrored")


def test_a_machine_without_a_tpu_is_told_what_to_do(monkeypatch):
    for name in ("TPU_NAME", "TPU_CONFIG", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)
    # Where TensorFlow asks the cloud's machine for its TPU: nobody listens there.
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")
    with pytest.raises(BadInput, match=r"no TPU was found .*TPU_NAME .*training\.strategy"):
        make_strategy("tpu")


def test_a_run_in_one_process_refuses_workers_before_it_computes_anything(tmp_path):
    config = load_configuration(None, ["training.strategy=multi_worker_mirrored"])
    with pytest.raises(BadInput, match=r"`mirrored` .* `debut compile`"):
        run_pipeline(config, root=tmp_path / "root", console=Console())
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("devices", "capabilities", "expected"),
    [
        ([], [], "float32"),
        (["GPU"], [(7, 5)], "float32"),
        (["GPU"], [(8, 0)], "mixed_bfloat16"),
        (["GPU", "GPU"], [(9, 0), (7, 5)], "float32"),
        (["TPU"], [], "mixed_bfloat16"),
    ],
)
def test_precision_follows_the_kind_of_device(monkeypatch, devices, capabilities, expected):
    """The machine's devices are made up; none of these kinds is here."""

    def listed(kind):
        return [place for place, found in enumerate(devices) if found == kind]

    monkeypatch.setattr(tf.config, "list_physical_devices", listed)
    monkeypatch.setattr(tf.config, "list_logical_devices", listed)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details",
        lambda place: {"compute_capability": capabilities[place]},
    )  # fmt: skip
    before = tf_keras.mixed_precision.global_policy()
    try:
        set_precision("auto")
        assert tf_keras.mixed_precision.global_policy().name == expected
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
