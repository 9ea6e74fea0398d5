"""What has to be the same whichever runner ran a stage."""

import numpy as np
import pytest

from tests.portable import results


class SameResults:
    """Mixed into the tests of a runner, whose fixture `portable` is the folder of its results."""

    def test_ingestion_joins_and_splits_alike(self, direct, portable):
        expected, found = results.ingested(direct), results.ingested(portable)
        assert all(expected[0][split] for split in ("all", "train", "eval", "new_items"))
        assert found == expected

    @pytest.mark.parametrize("lane", ["Catalogue", "Interactions"])
    def test_statistics_count_alike(self, direct, portable, lane):
        exact, inexact = results.statistics(direct, lane)
        found_exact, found_inexact = results.statistics(portable, lane)
        assert exact and found_exact == exact
        assert found_inexact.keys() == inexact.keys()
        for key, values in inexact.items():
            np.testing.assert_allclose(found_inexact[key], values, rtol=1e-6, err_msg=str(key))

    @pytest.mark.parametrize("lane", ["Catalogue", "Interactions"])
    def test_transform_finds_the_same_vocabularies(self, direct, portable, lane):
        expected = results.vocabularies(direct, lane)
        assert all(expected.values()) and results.vocabularies(portable, lane) == expected

    def test_transform_writes_the_same_items(self, direct, portable):
        expected, found = results.transformed(direct), results.transformed(portable)
        assert found.keys() == expected.keys() and expected
        moved = 0
        for item, features in expected.items():
            assert found[item].keys() == features.keys()
            for name, values in features.items():
                if name == "price_bucket":  # its edges are estimated
                    moved += int((found[item][name] != values).any())
                elif values.dtype.kind == "f":
                    np.testing.assert_allclose(found[item][name], values, atol=1e-5, err_msg=name)
                else:
                    np.testing.assert_array_equal(found[item][name], values, err_msg=name)
        assert moved <= 0.01 * len(expected)

    def test_evaluator_measures_the_same(self, direct, portable):
        (expected, counts), (found, found_counts) = map(results.metrics, (direct, portable))
        assert found.keys() == expected.keys() and expected
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
        assert sum(counts) and found_counts == counts

    def test_the_model_describes_products_alike(self, direct, portable):
        expected, found = results.described(direct), results.described(portable)
        assert len(expected["embedding"]) and found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-6, err_msg=name)
