import pytest

from models.encoder import TextEncoder
from models.finetuning import PairModel
from tests.tiny_bert import LAYERS


@pytest.mark.parametrize("trainable_layers", [1, LAYERS, -1])
def test_only_what_the_freezing_policy_allows_is_fine_tuned(bert, trainable_layers):
    encoder = TextEncoder(bert, trainable_layers=trainable_layers)
    found = {variable.name for variable in PairModel(encoder, 0.1).trainable_variables}
    assert found == {variable.name for variable in encoder.bert.trainable_variables}
    assert all("layer_._0/" not in name for name in found) == (trainable_layers == 1)
