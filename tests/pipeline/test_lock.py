import multiprocessing

import pytest

from models.errors import BadInput
from pipeline.lock import alone, one_at_a_time


def _note(root, name, started):
    with one_at_a_time(root, waiting=started.set), (root / "noted").open("a") as file:
        file.write(f"{name}\n")


def test_another_process_waits_says_so_and_goes_on(tmp_path):
    context = multiprocessing.get_context("fork")
    waiting = context.Event()
    other = context.Process(target=_note, args=(tmp_path, "other", waiting))
    with one_at_a_time(tmp_path, waiting=lambda: None):
        other.start()
        assert waiting.wait(60)
        (tmp_path / "noted").write_text("first\n")
    other.join(60)
    assert (tmp_path / "noted").read_text() == "first\nother\n"
    assert other.exitcode == 0


def test_the_lock_is_free_after_a_failure(tmp_path):
    told: list[str] = []
    for _ in range(2):
        try:
            with one_at_a_time(tmp_path, waiting=lambda: told.append("waited")):
                raise ValueError
        except ValueError:
            pass
    assert not told


def test_a_second_run_is_refused_and_a_scheduled_one_is_told_that_it_waits(tmp_path):
    def wait():
        raise InterruptedError

    with alone(tmp_path):
        with pytest.raises(BadInput, match="Another `debut run`, or"), alone(tmp_path):
            pass
        with pytest.raises(InterruptedError), alone(tmp_path, waiting=wait):
            pass
    with alone(tmp_path):
        pass


@pytest.mark.parametrize("name", ["a*", "a?", "shop [1]", "a\\b"])
def test_a_root_whose_path_is_a_pattern_is_refused_before_it_is_made(tmp_path, name):
    root = tmp_path / name / "runs"
    with pytest.raises(BadInput, match=r"for a pattern of file names. Give --root"), alone(root):
        pass
    assert not root.parent.exists()


def test_a_root_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / "root"
    for lock in (alone(root), one_at_a_time(root, waiting=lambda: None)):
        with pytest.raises(BadInput, match=f"{root} can't be written .Not a directory"), lock:
            pass
