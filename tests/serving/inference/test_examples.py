import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

REGRESS, CLASSIFY = "tensorflow/serving/regress", "tensorflow/serving/classify"


def example(**features):
    message = tf.train.Example()
    for name, value in features.items():
        message.features.feature[name].float_list.value.append(value)
    return message


def fill(request, signature, examples, *, context=None):
    request.model_spec.name = "examples"
    request.model_spec.signature_name = signature
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request


def test_regress_gives_a_value_per_example(suite):
    request = fill(regression_pb2.RegressionRequest(), "regress", [example(x=1.5), example(x=2)])
    answer = suite.prediction.Regress(request, timeout=30)
    assert [entry.value for entry in answer.result.regressions] == [3.0, 4.0]
    assert answer.model_spec.signature_name == "regress"


def test_classify_gives_labels_and_scores(suite):
    request = fill(classification_pb2.ClassificationRequest(), "classify", [example(x=4)])
    answer = suite.prediction.Classify(request, timeout=30)
    [entry] = answer.result.classifications[0].classes
    assert (entry.label, entry.score) == ("double", 8.0)


def test_context_supplies_what_an_example_lacks_and_the_example_wins(suite):
    examples = [example(), example(x=1)]
    request = fill(regression_pb2.RegressionRequest(), "regress", examples, context=example(x=5))
    answer = suite.prediction.Regress(request, timeout=30)
    assert [entry.value for entry in answer.result.regressions] == [10.0, 2.0]


def test_multi_inference_answers_every_task(suite):
    request = inference_pb2.MultiInferenceRequest()
    request.input.example_list.examples.append(example(x=3))
    for signature, method in (("regress", REGRESS), ("classify", CLASSIFY)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name = "examples"
        task.model_spec.signature_name = signature
    regression, classification = suite.prediction.MultiInference(request, timeout=30).results
    assert regression.regression_result.regressions[0].value == 6.0
    assert classification.classification_result.classifications[0].classes[0].score == 6.0


@pytest.mark.parametrize(
    ("signature", "examples", "begins"),
    [
        ("nope", [example(x=1)], "No signature was found with the name: nope"),
        ("classify", [example(x=1)], "Expected one output Tensor."),
        ("regress", [], "Input is empty."),
        ("regress", [example(q=1)], "Name: <unknown>, Feature: x (data type: float) is required"),
    ],
)
def test_regress_refuses_what_it_can_not_answer_in_the_stock_servers_words(
    suite, signature, examples, begins
):
    with pytest.raises(grpc.RpcError) as caught:
        suite.prediction.Regress(fill(regression_pb2.RegressionRequest(), signature, examples))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(caught.value.details()).startswith(begins)
