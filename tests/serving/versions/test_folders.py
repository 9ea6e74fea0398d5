import pytest

from serving.config.model_config import ModelSource, VersionPolicy
from serving.versions.folders import BasePathError, wanted_versions


def wanted(folder, policy=None):
    return sorted(wanted_versions(ModelSource("m", str(folder), policy or VersionPolicy())))


@pytest.fixture
def base(tmp_path):
    for name in ("1", "2", "10", "009", "-3", "+4", "4.part", "x5", "99999999999999999999"):
        (tmp_path / name).mkdir()
    return tmp_path


def latest(count):
    policy = VersionPolicy()
    policy.latest.num_versions = count
    return policy


def test_default_is_the_highest_number_not_the_last_name(base):
    assert wanted(base) == [10]


def test_policy_chooses_all_or_some_or_so_many_of_the_highest(base):
    every, specific = VersionPolicy(), VersionPolicy()
    every.all.SetInParent()
    specific.specific.versions.extend([1, 9, 77])
    assert wanted(base, every) == [-3, 1, 2, 9, 10]
    assert wanted(base, specific) == [1, 9]
    assert wanted(base, latest(2)) == [9, 10]
    assert wanted(base, latest(0)) == [10]
    assert wanted(base, latest(100)) == [-3, 1, 2, 9, 10]


def test_path_is_the_folder_as_it_is_named(base):
    assert wanted_versions(ModelSource("m", str(base), latest(2)))[9] == str(base / "009")


def test_missing_base_path_is_not_the_same_as_an_empty_one(tmp_path):
    assert wanted(tmp_path) == []
    with pytest.raises(BasePathError, match="Could not find base path"):
        wanted(tmp_path / "missing")
