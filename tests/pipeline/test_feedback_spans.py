import csv
import gzip
import json
import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.ingestion.folder import INTERACTIONS, open_folder
from components.ingestion.options import DataOptions
from components.ingestion.rows import row_parser
from models.errors import BadInput
from pipeline import feedback_spans
from pipeline.cli import main
from pipeline.config import load_configuration
from pipeline.feedback_spans import SOURCES, export_span
from serving.answers import Ranking
from serving.feedback.log import FeedbackLog
from tests.pseudonyms import KEY, hashed

PURCHASES = ("purchase",)


@pytest.fixture
def data(tmp_path):
    span = tmp_path / "my shop" / "span-1"
    span.mkdir(parents=True)
    (span / "items.csv").write_text("item_id,title\na,Apple\nb,Bread\n")
    (span / "interactions.csv").write_text("user_id,item_id,timestamp\nann,a,100\nben,b,200\n")
    return span.parent


@pytest.fixture
def log(tmp_path):
    with FeedbackLog(tmp_path / "log", key=KEY) as log:
        shown = log.impression("ann", Ranking(["b", "a"], [1.0, 0.5], 3))
        log.click("ann", "b", shown)
        log.purchase("ann", "b", shown)
        log.purchase("cleo", "a")
    return tmp_path / "log"


def rows(span):
    with gzip.open(span / "interactions.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def test_purchases_become_the_next_span_and_known_users_get_their_ids_back(data, log):
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.folder == data / "span-2"
    assert made.events == {"purchase": 2}
    assert made.strangers == 1
    assert [(row["user_id"], row["item_id"], row["event"]) for row in rows(made.folder)] == [
        ("ann", "b", "purchase"),
        (f"hmac-sha256:{hashed('cleo')}", "a", "purchase"),
    ]
    assert open_folder(data).span == 2


def test_rows_that_a_run_sets_aside_name_no_user_and_stop_no_export(data, log):
    with (data / "span-1" / "interactions.csv").open("ab") as file:
        file.write(b'Jos\xe9,a,100\ncleo,a,yesterday\n"ben\n')
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.folder is not None and made.strangers == 1
    assert [row["user_id"] for row in rows(made.folder)] == ["ann", f"hmac-sha256:{hashed('cleo')}"]


def test_a_span_is_on_the_disk_before_it_has_a_name(data, log, monkeypatch):
    """Its list of files, without their events, would make the next export pass these over."""
    flushed, sync = {}, os.fsync

    def noted(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        flushed[path.name] = (data / "span-2").exists()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.folder == data / "span-2"
    assert {path.name: flushed[path.name] for path in (data / "span-2").iterdir()} == {
        "interactions.csv.gz": False, SOURCES: False,
    }  # fmt: skip


def test_what_came_of_a_list_has_the_propensity_that_it_was_shown_with(data, tmp_path):
    folder = tmp_path / "log"
    with FeedbackLog(folder, key=KEY) as log:
        first = log.impression("ann", Ranking(["b", "a"], [1.0, 0.5], 3, [1.0, 0.25]))
        second = log.impression("ben", Ranking(["a", "b"], [1.0, 0.5], 3, [1.0, 0.5]))
        log.purchase("ben", "b", second)
    export_span(folder, data, key=KEY, kinds=PURCHASES)
    # What comes later of a list is in another file of the log than the list.
    with FeedbackLog(folder, key=KEY) as log:
        log.purchase("ann", "a", first)
        log.purchase("ann", "b")
        log.purchase("ben", "c", second)
    export_span(folder, data, key=KEY, kinds=PURCHASES)
    told = [[(row["item_id"], row["propensity"]) for row in rows(data / f"span-{n}")]
            for n in (2, 3)]  # fmt: skip
    assert told == [[("b", "0.5")], [("a", "0.25"), ("b", ""), ("c", "")]]


def test_ingestion_knows_a_new_user_by_the_pseudonym_that_a_raw_id_would_get(data, log):
    export_span(log, data, key=KEY, kinds=PURCHASES)
    [file] = [f for f in open_folder(data).files if f.table == INTERACTIONS and f.span == 2]
    options: DataOptions = load_configuration(None, []).data.options()
    parse = row_parser(file, options, KEY)
    users = [parse(values)[1][0] for _, _, values in file.rows()]
    assert users == [hashed("ann"), hashed("cleo")]


def test_clicks_are_taken_where_they_are_asked_for(data, log):
    made = export_span(log, data, key=KEY, kinds=("click", "purchase"))
    assert made.events == {"click": 1, "purchase": 2}


def test_nothing_counts_twice(data, log):
    export_span(log, data, key=KEY, kinds=PURCHASES)
    again = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert again.folder is None
    assert not (data / "span-3").exists()
    with FeedbackLog(log, key=KEY) as more:
        more.purchase("ben", "a")
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.folder == data / "span-3"
    assert [row["user_id"] for row in rows(made.folder)] == ["ben"]


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_a_span_is_numbered_after_whatever_has_the_name_of_one(data, log, make):
    make(data / "span-07")
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.folder == data / "span-8"
    assert export_span(log, data, key=KEY, kinds=PURCHASES).folder is None


def test_what_an_interrupted_export_left_is_not_seen_and_goes(data, log):
    left = data / ".incoming-1-2"
    left.mkdir()
    (left / "interactions.csv.gz").write_bytes(b"half")
    assert open_folder(data).span == 1
    export_span(log, data, key=KEY, kinds=PURCHASES)
    assert sorted(path.name for path in data.iterdir()) == [".export.lock", "span-1", "span-2"]
    assert len(rows(data / "span-2")) == 2


def test_an_export_that_comes_during_another_is_refused_and_spoils_nothing(data, log, monkeypatch):
    write = feedback_spans._write

    def interrupted(*given):
        with pytest.raises(BadInput, match="under way"):
            export_span(log, data, key=KEY, kinds=PURCHASES)
        return write(*given)

    monkeypatch.setattr(feedback_spans, "_write", interrupted)
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.folder == data / "span-2"
    assert len(rows(made.folder)) == 2
    # And it is free again.
    assert export_span(log, data, key=KEY, kinds=PURCHASES).folder is None


def test_a_data_folder_that_is_not_there_is_missed_by_name(data, log):
    with pytest.raises(BadInput, match="nowhere does not exist"):
        export_span(log, data / "nowhere", key=KEY, kinds=PURCHASES)


def test_bad_lines_are_listed_in_the_span(data, log):
    (log / "x.jsonl").write_text("nonsense\n")
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert made.bad_lines == 1
    assert made.folder is not None
    [line] = (made.folder / "feedback-bad-lines.jsonl").read_text().splitlines()
    assert json.loads(line)["file"] == "x.jsonl"


def test_an_id_with_a_control_character_stops_no_export(data, log):
    lines = next(log.glob("*.jsonl")).read_text().splitlines()
    line = next(line for line in lines if '"event":"purchase"' in line and '"item":"b"' in line)
    (log / "x.jsonl").write_text(line.replace('"item":"b"', r'"item":"b\u0000"') + "\n")
    made = export_span(log, data, key=KEY, kinds=PURCHASES)
    assert (made.events, made.bad_lines) == ({"purchase": 2}, 1)


@pytest.mark.parametrize("text", ["", '{"files": ["x.jsonl",]}', '["x.jsonl"]', '{"files": "x"}'])
def test_a_list_of_exported_files_that_says_nothing_is_bad_input_by_its_name(data, log, text):
    (data / "span-1" / "feedback.json").write_text(text)
    with pytest.raises(BadInput, match=r"span-1/feedback.json .* Correct it"):
        export_span(log, data, key=KEY, kinds=PURCHASES)
    assert not (data / "span-2").exists()


def test_a_folder_without_spans_is_bad_input_that_names_the_remedy(data, log):
    with pytest.raises(BadInput, match="has no spans"):
        export_span(log, data / "span-1", key=KEY, kinds=PURCHASES)


def test_a_shop_with_ratings_is_bad_input(data, log):
    (data / "span-1" / "interactions.csv").write_text(
        "user_id,item_id,timestamp,rating\nann,a,100,3\nben,b,200,4\n"
    )
    with pytest.raises(BadInput, match="has ratings"):
        export_span(log, data, key=KEY, kinds=PURCHASES)


def test_the_command_says_what_it_made(data, log, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", KEY.decode())
    words = ["feedback", "export", "--log", log, "--data", data, "--key", "SHOP_KEY"]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "2 purchases written, 1 user is new." in result.output
    assert f"Made {data / 'span-2'}" in result.output
    assert f"`debut run --data {shlex.quote(str(data))}` trains on it" in result.output
    assert "is not the key" not in result.output
    again = CliRunner().invoke(main, list(map(str, words)))
    assert again.exit_code == 0
    assert "nothing was written" in again.output


def test_the_command_says_where_the_key_may_be_another(data, log, monkeypatch):
    monkeypatch.setenv("OTHER_KEY", "another")
    words = ["feedback", "export", "--log", log, "--data", data, "--key", "OTHER_KEY"]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert "2 users are new. No older span knows any of them." in " ".join(result.output.split())
    assert f"OTHER_KEY is not the key that the log was written with: remove {data}" in result.output


def test_a_missing_key_is_bad_input(data, log, monkeypatch):
    monkeypatch.delenv("SHOP_KEY", raising=False)
    words = ["feedback", "export", "--log", log, "--data", data, "--key", "SHOP_KEY"]
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code == 2
