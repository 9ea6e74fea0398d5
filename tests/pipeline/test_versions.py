from google.protobuf import json_format

from pipeline.config import load_configuration
from pipeline.evaluation import evaluation_config
from pipeline.versions import _gated


def test_each_gate_is_named_by_its_metric_and_slice_with_spans_too():
    gates = load_configuration().gates.model
    config = evaluation_config(gates, by_span=True)
    read = _gated(json_format.MessageToDict(config, preserving_proto_field_name=True))
    assert sorted(read) == sorted((gate.metric, gate.slice) for gate in gates)
    assert ("cold_recall_at_20", "latest_new") in read
