"""The Python example of "Log feedback" writes the events that the page names."""

from pathlib import Path

from serving.feedback.reading import read_events, sealed_files
from tests.docs.pages import blocks


def test_the_example_writes_a_list_and_what_came_of_it(tmp_path, monkeypatch):
    [code] = [code for page, code in blocks("python") if page == "docs/how-to/log-feedback.md"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_KEY", "secret")
    exec(code, {"__name__": "__main__"})
    [file] = sealed_files(Path("feedback"))
    kinds = [getattr(event, "event", event) for event in read_events(file)]
    assert kinds == ["impression", "click", "purchase"]
