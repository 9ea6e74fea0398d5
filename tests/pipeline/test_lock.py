import multiprocessing

from pipeline.lock import one_at_a_time


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
