"""The candidate is booted in a real server and asked real requests before it may be pushed."""

import os
import shutil
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx import types
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.proto import infra_validator_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.embedded_server import embedded_server
from components.infra_validator import Executor
from tests.serving.saved_models import Shop
from tests.serving.scripted_server import PREDICT, ScriptedServer

EXAMPLE = {"user_id": ["ann"], "item_id": ["bread"], "profile": [""], "history": ["apple"]}


# What customers ask.
SIGNATURES = {
    "recommend", "score", "explain", "embed_items", "embed_users", "similar_items", "audience",
}  # fmt: skip


class Rated(Shop):
    """The serving tests' shop with the signature that takes Examples."""

    def __init__(self, is_broken=False):
        super().__init__()
        self._is_broken = is_broken
        self._rating = tf.Variable(0.5)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def rate(self, examples):
        spec = {"item_id": tf.io.FixedLenFeature([], tf.string)}
        items = tf.io.parse_example(examples, spec)["item_id"]
        fine = tf.size(items) < 0 if self._is_broken else tf.size(items) > 0
        with tf.control_dependencies([tf.debugging.Assert(fine, ["no rating for", items])]):
            return {"rating": tf.fill(tf.shape(items), self._rating.read_value())}


def save(folder, **options):
    module = Rated(**options)
    names = SIGNATURES
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(
        module,
        str(folder / "Format-Serving"),
        signatures=signatures | {"serving_default": module.rate},
    )
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Ten interactions in the split that the validator draws from."""
    folder = tmp_path_factory.mktemp("examples")
    values = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in texts]))
        for name, texts in EXAMPLE.items()
    }
    record = tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()
    (folder / "Split-eval").mkdir()
    file = str(folder / "Split-eval" / "data_tfrecord-00000-of-00001.gz")
    with tf.io.TFRecordWriter(file, "GZIP") as writer:
        for _ in range(10):
            writer.write(record)
    return folder


@pytest.fixture
def validate(tmp_path, examples):
    """Runs the executor on a model folder; returns the blessing."""

    def run(model_folder) -> types.Artifact:
        model, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
        data = standard_artifacts.Examples()
        model.uri, blessing.uri, data.uri = map(
            str, (model_folder, tmp_path / "blessing", examples)
        )
        data.split_names = artifact_utils.encode_split_names(["eval"])
        serving = infra_validator_pb2.ServingSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServing(tags=["2.16.1"]),
            local_docker=infra_validator_pb2.LocalDockerConfig(),
            model_name="debut",
        )
        request = infra_validator_pb2.RequestSpec(
            tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(
                signature_names=["serving_default"]
            ),
            num_examples=3,
            make_warmup=True,
            split_name="eval",
        )
        validation = infra_validator_pb2.ValidationSpec(max_loading_time_seconds=120, num_tries=1)
        specs = {"serving_spec": serving, "request_spec": request, "validation_spec": validation}
        Executor(BaseExecutor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")).Do(
            {"model": [model], "examples": [data]},
            {"blessing": [blessing]},
            {name: proto_utils.proto_to_json(spec) for name, spec in specs.items()},
        )
        return blessing

    return run


def is_blessed(blessing):
    """TFX says it twice: to the Pusher by a property, to people by an empty file."""
    (said,) = [path.name for path in Path(blessing.uri).iterdir() if path.name.isupper()]
    assert (said == "INFRA_BLESSED") == (blessing.get_int_custom_property("blessed") == 1)
    return said == "INFRA_BLESSED"


def test_good_model_is_blessed_and_gets_a_request_to_every_signature(good, validate):
    blessing = validate(good)
    assert is_blessed(blessing)
    (file,) = Path(blessing.uri).rglob("assets.extra/tf_serving_warmup_requests")
    asked = [
        prediction_log_pb2.PredictionLog.FromString(record).predict_log.request.model_spec
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    ]
    names = [spec.signature_name for spec in asked]
    assert names.count("serving_default") == 1
    assert set(names) >= SIGNATURES


def through_a_proxy(monkeypatch, name):
    """An environment whose proxy nobody answers at, and which names who is asked without one."""
    for other in ("NO_PROXY", "no_proxy", "no_grpc_proxy"):
        # What is only deleted would not come back as it was: the validation sets some.
        monkeypatch.setenv(other, "")
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "shop, bank")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy", "no_grpc_proxy"])
def test_whoever_starts_a_server_reaches_this_machine_past_a_proxy(tmp_path, monkeypatch, name):
    through_a_proxy(monkeypatch, name)
    with embedded_server(tmp_path, "debut"), ScriptedServer(b"", b"") as server:
        _, port = server.target.split(":")
        for host in ("127.0.0.1", "localhost"):
            with grpc.insecure_channel(f"{host}:{port}") as channel:
                assert channel.unary_unary(PREDICT, bytes, bytes)(b"", timeout=60) == b""
    spared = os.environ[name.lower()].split(",")
    assert spared == ["shop", "bank", "127.0.0.1", "localhost"]


def test_a_proxy_of_the_environment_makes_no_good_model_bad(good, validate, monkeypatch):
    through_a_proxy(monkeypatch, "no_grpc_proxy")
    assert is_blessed(validate(good))


def test_model_with_truncated_weights_is_refused(good, validate, tmp_path):
    model = shutil.copytree(good, tmp_path / "model")
    (index,) = model.rglob("variables.index")
    index.write_bytes(index.read_bytes()[:20])
    assert not is_blessed(validate(model))


def test_model_that_fails_on_the_shops_own_examples_is_refused(validate, tmp_path):
    assert not is_blessed(validate(save(tmp_path / "model", is_broken=True)))
