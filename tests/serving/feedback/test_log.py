import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.errors import BadInput
from models.pseudonyms import MARK, pseudonym
from serving.answers import Ranking
from serving.feedback.events import Action, Impression, parse_event
from serving.feedback.log import OPEN, FeedbackLog
from serving.feedback.reading import BadLine, read_events, sealed_files
from tests.processes import running
from tests.pseudonyms import KEY, hashed

WRITER = """
import sys, pathlib
from serving.feedback.log import FeedbackLog
log = FeedbackLog(pathlib.Path(sys.argv[1]), key=b"a key of a shop")
for number in range(1_000_000):
    log.purchase(f"u{number}", f"i{number}")
    print(number, flush=True)
"""
BUSY_WRITER = """
import sys, pathlib
from serving.feedback.log import FeedbackLog
with FeedbackLog(pathlib.Path(sys.argv[1]), key=b"a key of a shop", most_bytes=500) as log:
    for number in range(300):
        log.purchase("ann", f"{sys.argv[2]}{number}")
"""


def events(folder):
    return [event for file in sealed_files(folder) for event in read_events(file)]


def items_of(file):
    return [event.item for event in read_events(file) if isinstance(event, Action)]


def test_what_was_shown_clicked_and_bought_is_read_back_in_order(tmp_path):
    with FeedbackLog(tmp_path, key=KEY) as log:
        shown = log.impression(
            "ann", Ranking(["a", "b"], [2.0, 1.0], 7, [0.9, 0.05]), history=["c"]
        )
        log.click("ann", "b", shown)
        log.purchase("ben", "c")
    impression, click, purchase = events(tmp_path)
    assert (impression.version, impression.history) == (7, ("c",))
    assert [(place.item, place.propensity) for place in impression.items] == [
        ("a", 0.9),
        ("b", 0.05),
    ]
    assert (click.event, click.item, click.list) == ("click", "b", impression.list)
    assert (purchase.event, purchase.item, purchase.list) == ("purchase", "c", None)
    assert [event.user for event in (impression, click, purchase)] == [
        hashed("ann"), hashed("ann"), hashed("ben"),
    ]  # fmt: skip


def test_no_raw_user_id_reaches_the_disk(tmp_path):
    with FeedbackLog(tmp_path, key=KEY) as log:
        log.purchase("ann@example.org", "a")
    assert b"ann" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_pseudonym_is_not_hashed_again():
    assert pseudonym(KEY, MARK + hashed("ann")) == hashed("ann") == pseudonym(KEY, "ann")


def test_a_list_that_was_not_drawn_by_chance_has_propensity_one(tmp_path):
    with FeedbackLog(tmp_path, key=KEY) as log:
        log.impression("ann", Ranking(["a"], [1.0], None))
    [impression] = events(tmp_path)
    assert [place.propensity for place in impression.items] == [1.0]


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.5, float("nan")])
def test_an_impossible_propensity_is_refused_before_it_is_written(tmp_path, propensity):
    with FeedbackLog(tmp_path, key=KEY) as log, pytest.raises(ValueError, match="propensity"):
        log.impression("ann", Ranking(["a"], [1.0], 7, [propensity]))
    assert not list(tmp_path.iterdir())


def test_a_list_that_names_an_item_twice_is_refused_and_set_aside(tmp_path):
    ranking = Ranking(["a", "b", "a"], [2.0, 1.0, 0.0], 7, [0.5, 1.0, 0.5])
    with FeedbackLog(tmp_path, key=KEY) as log:
        with pytest.raises(ValidationError, match="an item stands twice"):
            log.impression("ann", ranking)
        log.impression("ann", Ranking(["a", "b"], [2.0, 1.0], 7, [0.5, 1.0]))
    [file] = sealed_files(tmp_path)
    file.write_bytes(file.read_bytes().replace(b'"item":"b"', b'"item":"a"'))
    [bad] = events(tmp_path)
    assert isinstance(bad, BadLine)
    assert bad.reason.endswith("items: Value error, an item stands twice; a list has each once")


@pytest.mark.parametrize("item", ["", "  ", "\u2003", "a\0b", "a\nb", "a" * 257])
def test_an_id_that_no_data_folder_takes_is_refused_before_it_is_written(tmp_path, item):
    with FeedbackLog(tmp_path, key=KEY) as log, pytest.raises(ValidationError, match="item"):
        log.purchase("ann", item)
    assert events(tmp_path) == []


def test_a_full_file_is_ended_and_no_event_is_cut_between_two(tmp_path):
    with FeedbackLog(tmp_path, key=KEY, most_bytes=400) as log:
        for number in range(10):
            log.purchase("ann", f"item-{number}")
    files = sealed_files(tmp_path)
    assert len(files) > 2
    assert sorted(event.item for event in events(tmp_path)) == [f"item-{n}" for n in range(10)]


def test_all_that_was_acknowledged_is_read_and_a_living_writer_goes_on(tmp_path):
    with FeedbackLog(tmp_path, key=KEY) as log:
        log.purchase("ann", "a")
        assert [event.item for event in events(tmp_path)] == ["a"]
        log.purchase("ann", "b")
        log.purchase("ann", "c")
    assert sorted(items_of(file) for file in sealed_files(tmp_path)) == [["a"], ["b", "c"]]


def once_before(monkeypatch, owner, name, step):
    """Take a step right before the next call of a function."""
    real = getattr(owner, name)

    def stepping(*given):
        monkeypatch.setattr(owner, name, real)
        step()
        return real(*given)

    monkeypatch.setattr(owner, name, stepping)


def test_a_reader_that_comes_before_the_first_line_misses_nothing_later(tmp_path, monkeypatch):
    """It may list the new file, and would never look into it again."""
    listed: list[Path] = []
    once_before(monkeypatch, fcntl, "flock", lambda: listed.extend(sealed_files(tmp_path)))
    with FeedbackLog(tmp_path, key=KEY) as log:
        log.purchase("ann", "a")
        log.purchase("ann", "b")
    assert listed
    [later] = set(sealed_files(tmp_path)) - set(listed)
    assert items_of(later) == ["a", "b"]


@pytest.mark.parametrize(
    ("owner", "name"), [(os, "open"), (fcntl, "flock")], ids=["opens it", "holds it"]
)
def test_a_file_that_ends_before_a_reader_is_read_once(tmp_path, monkeypatch, owner, name):
    log = FeedbackLog(tmp_path, key=KEY)
    log.purchase("ann", "a")
    once_before(monkeypatch, owner, name, log.close)
    assert [event.item for event in events(tmp_path)] == ["a"]


def test_readers_and_writers_at_once_lose_and_double_nothing(tmp_path):
    """Writers end their files at every third event or so, and a reader ends them in between."""
    items: list[str] = []
    done: set[Path] = set()
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running([sys.executable, "-c", BUSY_WRITER, tmp_path, name]))
            for name in "abc"
        ]
        while True:
            is_last = all(process.poll() is not None for process in processes)
            for file in sealed_files(tmp_path):
                if file not in done:
                    done.add(file)
                    items += items_of(file)
            if is_last:
                break
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(items) == sorted(f"{name}{number}" for name in "abc" for number in range(300))


def test_threads_share_a_log(tmp_path):
    with FeedbackLog(tmp_path, key=KEY, most_bytes=2000) as log:

        def write(thread):
            for number in range(20):
                log.purchase("ann", f"{thread}-{number}")

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    items = [event.item for event in events(tmp_path)]
    assert sorted(items) == sorted(f"{n}-{m}" for n in range(4) for m in range(20))


def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(tmp_path):
    line = [sys.executable, "-c", WRITER, tmp_path]
    with running(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split()]
    items = [event.item for event in events(tmp_path)]
    assert items[: len(said)] == [f"i{number}" for number in said]
    assert len(items) - len(said) in (0, 1)  # the last one was written but not reported


def test_a_cut_line_at_the_end_is_dropped_and_the_rest_is_kept(tmp_path):
    log = FeedbackLog(tmp_path, key=KEY)
    log.purchase("ann", "a")
    log.close()
    [file] = sealed_files(tmp_path)
    left = tmp_path / f"crashed{OPEN}"
    left.write_bytes(file.read_bytes() + b'{"event": "purch')
    file.unlink()
    assert [event.item for event in events(tmp_path)] == ["a"]
    assert not list(tmp_path.glob(f"*{OPEN}"))


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    log = FeedbackLog(tmp_path, key=KEY)
    log.purchase("ann", "a")
    real = os.write

    def write_half(file, line):
        real(file, line[: len(line) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(OSError, match="No space"):
        log.purchase("ann", "b")
    monkeypatch.undo()
    log.purchase("ann", "c")
    log.close()
    assert [event.item for event in events(tmp_path)] == ["a", "c"]


def test_a_forked_child_writes_a_file_of_its_own_that_its_parent_never_cuts(tmp_path, monkeypatch):
    log = FeedbackLog(tmp_path, key=KEY)
    log.purchase("ann", "a")
    if (child := os.fork()) == 0:
        log.close()
        log.purchase("ben", "b")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr("serving.feedback.log._write", full)
        log.purchase("ann", "c")
    log.purchase("ann", "d")
    log.close()
    assert sorted(items_of(file) for file in sealed_files(tmp_path)) == [["a", "d"], ["b"]]


def test_lines_that_hold_no_event_are_told_with_number_and_reason(tmp_path):
    good = Action(event="click", time=1.0, user=hashed("ann"), item="a").model_dump_json()
    raw = json.dumps({"event": "click", "time": 1.0, "user": "ann@example.org", "item": "a"})
    (tmp_path / "x.jsonl").write_text(f"{good}\n{raw}\nnonsense\n" + '{"event": "sale"}\n')
    read = events(tmp_path)
    assert [type(event) for event in read] == [Action, BadLine, BadLine, BadLine]
    assert [line.line for line in read[1:]] == [2, 3, 4]
    assert "user" in read[1].reason
    assert "ann" not in read[1].reason


def test_an_event_survives_its_line():
    event = Impression(
        time=3.5,
        user=hashed("ann"),
        list="l",
        version=None,
        items=({"item": "a", "propensity": 1},),
    )
    assert parse_event(event.model_dump_json().encode()) == event


@pytest.mark.parametrize("ended", [False, True])
def test_a_log_of_another_user_is_bad_input_that_names_the_file(tmp_path, monkeypatch, ended):
    log = FeedbackLog(tmp_path, key=KEY)
    log.purchase("ann", "a")
    if ended:
        log.close()

    def denied(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("serving.feedback.reading.open", denied, raising=False)
    monkeypatch.setattr("serving.feedback.reading.os.open", denied)
    [file] = tmp_path.iterdir()
    with pytest.raises(
        BadInput, match=rf"{file.name} can't be .*Permission denied.* writes the log"
    ):
        events(tmp_path)


def test_a_log_that_does_not_exist_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        sealed_files(tmp_path / "none")
