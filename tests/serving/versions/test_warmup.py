import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.runtime.servable import Servable
from serving.status import StatusError
from serving.versions.loading import LoadOptions
from serving.versions.served_model import ServedModel
from serving.versions.warmup import MAX_RECORDS, warm_up
from tests.serving import saved_models
from tests.serving.conformance import models as conformance
from tests.serving.saved_models import float_request, predict_record, write_warm_up


@pytest.fixture
def version(tmp_path):
    """Folder of version 1 of `Scale`."""
    saved_models.save_scale(str(tmp_path), 1, 10)
    return tmp_path / "1"


def replay(version, records):
    write_warm_up(str(version), records)
    servable = Servable(str(version), model="scale", version=1)
    try:
        return warm_up(servable)
    finally:
        servable.close()


GOOD = predict_record(float_request([1.0]))


def test_without_a_file_there_is_nothing_to_do(version):
    assert warm_up(Servable(str(version), model="scale", version=1)) == 0


def test_records_are_replayed_whatever_model_and_version_they_name(version):
    other = predict_record(float_request([1.0], model="other", version=99))
    assert replay(version, [GOOD, other]) == 2


def test_every_kind_of_request_warms_up(tmp_path):
    conformance.save_line(tmp_path, 1)
    logs = [prediction_log_pb2.PredictionLog() for _ in range(4)]
    predict, classify, regress, multi = logs
    predict.predict_log.request.CopyFrom(float_request([1.0], model="", signature=""))
    for log, signature in ((classify.classify_log, "classify"), (regress.regress_log, "regress")):
        log.request.model_spec.signature_name = signature
        example = log.request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(1.0)
    request = multi.multi_inference_log.request
    request.input.CopyFrom(regress.regress_log.request.input)
    task = request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name, task.model_spec.signature_name = "line", "regress"
    assert replay(tmp_path / "1", [log.SerializeToString() for log in logs]) == 4


def test_empty_file_and_empty_record_ask_for_nothing(version):
    assert replay(version, []) == 0
    assert replay(version, [b""]) == 1


def test_request_without_a_model_spec_warms_up(version):
    request = float_request([1.0])
    request.ClearField("model_spec")
    assert replay(version, [predict_record(request)]) == 1


def test_as_many_records_as_are_allowed_are_replayed(version):
    assert replay(version, [GOOD] * MAX_RECORDS) == MAX_RECORDS


def log_of(kind):
    log = prediction_log_pb2.PredictionLog()
    getattr(log, kind).SetInParent()
    return log.SerializeToString()


def wrong_input():
    request = float_request([1.0])
    request.inputs["zz"].CopyFrom(request.inputs.pop("x"))
    return predict_record(request)


def wrong_dtype():
    request = float_request([1.0])
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([1], tf.int32))
    return predict_record(request)


@pytest.mark.parametrize(
    ("records", "text"),
    [
        ([b"\xff\xff\xff"], "INVALID_ARGUMENT: Failed to parse warmup record"),
        (
            [GOOD, predict_record(float_request([1.0], signature="nope"))],
            'FAILED_PRECONDITION: Serving signature key "nope" not found.',
        ),
        (
            [wrong_input()],
            "INVALID_ARGUMENT: Signature input alias: x(feed name: serving_default_x:0) not found"
            " in request and no default value provided. Inputs expected to be in the request {zz},",
        ),
        ([wrong_dtype()], "INVALID_ARGUMENT: Expects arg[0] to be float but int32 is provided"),
        ([log_of("session_run_log")], "UNIMPLEMENTED: Unsupported log_type for warmup: 5"),
        ([log_of("predict_streamed_log")], "UNIMPLEMENTED: Unsupported log_type for warmup: 7"),
        ([GOOD] * MAX_RECORDS + [wrong_dtype()], "INVALID_ARGUMENT: Expects arg[0] to be float"),
        (
            [GOOD] * (MAX_RECORDS + 1),
            "INVALID_ARGUMENT: Number of warmup records exceeds the maximum (1000) at",
        ),
    ],
    ids=[
        "no record",
        "no signature",
        "wrong input",
        "wrong dtype",
        "session run",
        "stream",
        "last one bad",
        "too many",
    ],
)
def test_bad_file_fails_with_the_reason(version, records, text):
    with pytest.raises(StatusError) as caught:
        replay(version, records)
    assert str(caught.value).startswith(text)


def test_file_that_is_no_record_file_fails(version):
    write_warm_up(str(version), [])
    (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"x" * 40)
    with pytest.raises(StatusError, match="Please verify your warmup data is in TFRecord format"):
        warm_up(Servable(str(version), model="scale", version=1))


def test_folder_in_place_of_the_file_fails_in_the_words_of_the_runtime(version):
    folder = version / "assets.extra" / "tf_serving_warmup_requests"
    folder.mkdir(parents=True)
    with pytest.raises(StatusError) as caught:
        warm_up(Servable(str(version), model="scale", version=1))
    assert str(caught.value) == f"FAILED_PRECONDITION: {folder}; Is a directory"


def test_file_that_was_cut_fails_after_its_whole_records(version):
    write_warm_up(str(version), [GOOD, GOOD])
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    servable = Servable(str(version), model="scale", version=1)
    with pytest.raises(StatusError) as caught:
        warm_up(servable)
    status = f"DATA_LOSS: truncated record at {len(content) // 2}' failed with Read less bytes than"
    assert f'status="{status} requested",le="+Inf"}} 1\n' in servable.metrics.text()
    assert str(caught.value) == (
        f"DATA_LOSS: truncated record at {len(content) // 2}' failed with Read less bytes than"
        " requested. Please verify your warmup data is in TFRecord format."
    )


def test_version_with_a_bad_record_never_serves_and_the_old_one_stays(start_server, tmp_path):
    saved_models.save_scale(str(tmp_path), 1, 10)
    server = start_server(
        "--model_name=scale", f"--model_base_path={tmp_path}", "--max_num_load_retries=0"
    )
    saved_models.save_scale(str(tmp_path), "2.part", 20)
    bad = predict_record(float_request([1.0], signature="nope"))
    write_warm_up(str(tmp_path / "2.part"), [GOOD, bad])
    (tmp_path / "2.part").rename(tmp_path / "2")
    server.wait_for("scale", 2, "END")
    assert server.states("scale")[2] == ("END", 9, 'Serving signature key "nope" not found.')
    assert server.prediction.Predict(float_request([1.0])).model_spec.version.value == 1


def test_warm_up_of_a_request_that_failed_is_not_timed(version):
    write_warm_up(str(version), [GOOD, wrong_dtype()])
    servable = Servable(str(version), model="scale", version=1)
    with pytest.raises(StatusError):
        warm_up(servable)
    assert "model_warmup_latency_count" not in servable.metrics.text()


def test_warm_up_heeds_the_check_of_method_names(start_server, tmp_path):
    conformance.save_line(tmp_path, 1)
    odd = predict_record(float_request([1.0], signature="odd_method"))
    write_warm_up(str(tmp_path / "1"), [odd])
    flags = (f"--model_base_path={tmp_path}", "--max_num_load_retries=0")
    start_server(*flags)
    with pytest.raises(StatusError, match="INTERNAL: Expected prediction signature method_name"):
        start_server(*flags, "--enable_signature_method_name_check")


def test_warm_up_can_be_switched_off(version):
    from serving.config.model_config import ModelSource

    write_warm_up(str(version), [b"\xff\xff"])
    model = ServedModel("scale", LoadOptions(warm_up=False, max_retries=0))
    model.serve(ModelSource("scale", str(version.parent)))
    assert model.wait_until_settled(60)
    assert model.is_available(1)
    model.stop()
