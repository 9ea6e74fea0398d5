from pathlib import Path

import pytest

from tests.scheduling import together, turn


@pytest.mark.parametrize(
    "name",
    ["export/test_served", "export/test_adapter", "shelf/test_newcomers", "export/test_ruled",
     "exploration/test_exploration"],
)  # fmt: skip
def test_tests_that_share_the_served_model_run_in_one_process(name):
    assert together(f"tests/models/{name}.py") == "tests/models"


def test_other_files_are_dealt_out_one_by_one():
    others = [
        "tests/models/inheritance/test_ease.py",
        "tests/end_to_end/test_spans.py",
        "tests/serving/x.py",
    ]
    assert [together(file) for file in others] == others


def test_what_takes_minutes_is_begun_before_what_takes_seconds():
    files = [str(file) for file in sorted(Path("tests").rglob("test_*.py"))]
    turns = {file: turn(file) for file in files}
    long = [turns[file] for file in files if "end_to_end" in file]
    short = [turns[file] for file in files if "/serving/" in file]
    assert max(long) < turns["tests/models/export/test_served.py"] < min(short)
