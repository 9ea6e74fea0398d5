"""Commands that change something, where they may not: bad input, by the folder's name."""

import pytest
from click.testing import CliRunner

from components.version_folder import refresh_labels
from models.errors import BadInput
from pipeline.cli import main
from pipeline.layout import serving_folder
from serving.version_labels import CANARY, STABLE, config_file, write_labels
from tests.components.ingestion.helpers import write_shop
from tests.pipeline.recorded import RecordedRoot


@pytest.fixture
def root(tmp_path):
    """Version 1 is stable, and 2 the canary."""
    recorded = RecordedRoot(tmp_path / "runs")
    recorded.run()
    recorded.run()
    serving = serving_folder(tmp_path / "runs")
    for version in ("1", "2"):
        (serving / version / "saved_model.pb").write_bytes(b"")
    write_labels(serving, {STABLE: 1, CANARY: 2})
    return tmp_path / "runs"


def debut(*arguments):
    done = CliRunner().invoke(main, [*map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(
    ("command", "lock"),
    [
        (("promote",), "serving/.debut.lock"),
        (("rollback", "1", "--reason", "it sold nothing"), "serving/.debut.lock"),
        (("items", "remove", "--item", "1"), "items.lock"),
        (("run",), ".run.lock"),
    ],
)
def test_a_root_that_may_not_be_written_is_named_with_the_remedy(root, command, lock):
    # No right is missing where the tests run as root, but a folder can't be opened as a file.
    (root / lock).mkdir()
    code, said = debut(*command, "--root", root)
    assert code == 2, said
    assert f"{(root / lock).parent} can't be written (Is a directory). Give one that can." in said


def test_labels_that_are_to_be_written_for_a_container_and_can_t_be_are_bad_input(root):
    file = config_file(serving_folder(root))
    file.unlink()
    file.mkdir()
    with pytest.raises(BadInput, match=r"serving can't be written .*models\.config names"):
        refresh_labels(serving_folder(root))


def test_a_data_folder_that_may_not_be_written_is_named_with_the_remedy(tmp_path, monkeypatch):
    data = write_shop(tmp_path / "data")
    (data / ".export.lock").mkdir()
    monkeypatch.setenv("SHOP_KEY", "secret")
    code, said = debut("feedback", "export", "--log", tmp_path, "--data", data, "--key", "SHOP_KEY")
    assert code == 2 and f"{data} can't be written" in said
