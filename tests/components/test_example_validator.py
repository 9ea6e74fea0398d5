"""Drift stops a run; what a shop never had is no drift."""

import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.standard_component_specs import INCLUDE_SPLIT_PAIRS_KEY
from tfx.utils import json_utils

from components.example_validator import StrictDistributionExecutor
from models.errors import BadInput
from tests.components.comparing import compare

CHEAP, DEAR = {"price": [1.0, 2.0, 3.0, 4.0]}, {"price": [100.0, 200.0, 300.0, 400.0]}
NEVER: dict[str, list[float]] = {}
UNKNOWN = {"price": [None] * 4}


def statistics(folder, **splits):
    """An artifact as StatisticsGen writes it; every split also has ids."""
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for name, columns in splits.items():
        rows = len(next(iter(columns.values()), [0] * 4))
        frame = pd.DataFrame({"item_id": [f"i{row}" for row in range(rows)], **columns})
        place = folder / f"Split-{name}"
        place.mkdir(parents=True)
        found = tfdv.generate_statistics_from_dataframe(frame)
        (place / "FeatureStats.pb").write_bytes(found.SerializeToString())
    return artifact


def compare_prices(folder, now, before, pairs=None):
    compare(
        StrictDistributionExecutor(), folder, "price", now, before,
        **{INCLUDE_SPLIT_PAIRS_KEY: json_utils.dumps(pairs)},
    )  # fmt: skip


def drift(folder, now, before):
    compare_prices(
        folder, statistics(folder / "now", all=now), statistics(folder / "before", all=before)
    )


def test_the_same_prices_pass(tmp_path):
    drift(tmp_path, CHEAP, CHEAP)


def test_other_prices_stop_the_run_with_the_feature_named(tmp_path):
    with pytest.raises(BadInput, match=r"price.*gates"):
        drift(tmp_path, DEAR, CHEAP)


@pytest.mark.parametrize("now", [NEVER, UNKNOWN])
@pytest.mark.parametrize("before", [NEVER, UNKNOWN])
def test_a_shop_that_never_had_prices_passes(tmp_path, now, before):
    drift(tmp_path, now, before)


@pytest.mark.parametrize("before", [NEVER, UNKNOWN])
def test_prices_may_appear(tmp_path, before):
    drift(tmp_path, CHEAP, before)


@pytest.mark.parametrize("now", [NEVER, UNKNOWN])
def test_prices_that_are_gone_stop_the_run(tmp_path, now):
    with pytest.raises(BadInput, match="price"):
        drift(tmp_path, now, CHEAP)


def test_a_first_run_has_nothing_to_drift_from(tmp_path):
    compare_prices(tmp_path, statistics(tmp_path / "now", all=CHEAP), None)


def test_skew_between_splits_stops_the_run(tmp_path):
    both = statistics(tmp_path / "now", train=CHEAP, eval=DEAR)
    with pytest.raises(BadInput, match="eval_train: price"):
        compare_prices(tmp_path, both, both, [("eval", "train")])


def test_an_empty_split_is_no_skew(tmp_path):
    both = statistics(tmp_path / "now", train=CHEAP, eval={"price": []})
    compare_prices(tmp_path, both, both, [("eval", "train")])
