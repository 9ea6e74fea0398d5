"""The Python example of "Delete a customer" takes one customer out of a log, and nobody else."""

from pathlib import Path

from models.pseudonyms import pseudonym
from serving.answers import Ranking
from serving.feedback.log import FeedbackLog
from serving.feedback.reading import read_events, sealed_files
from tests.docs.pages import blocks

KEY = b"secret"


def users_of(log):
    return {
        file.name: [event.user for event in read_events(file)]  # type: ignore[union-attr]
        for file in sealed_files(log)
    }


def modes(log):
    return {file.name: file.stat().st_mode for file in sealed_files(log)}


def test_the_example_removes_the_lines_of_one_customer_and_keeps_the_files(tmp_path, monkeypatch):
    [code] = [code for page, code in blocks("python") if page == "docs/how-to/delete-a-customer.md"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_KEY", KEY.decode())
    log = Path("feedback")
    for user in ("12347", "12348"):
        with FeedbackLog(log, key=KEY) as writer:
            shown = writer.impression(user, Ranking(["egg"], [1.0], version=1))
            writer.purchase(user, "egg", shown)
    before, readable = users_of(log), modes(log)
    exec(code, {"__name__": "__main__"})
    after = users_of(log)
    assert after.keys() == before.keys()
    assert modes(log) == readable
    assert sorted(map(len, after.values())) == [0, 2]
    assert {user for users in after.values() for user in users} == {pseudonym(KEY, "12348")}
