"""The console over HTTP: what it answers, and what it does not let happen."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from unittest import mock

import pytest
from werkzeug.test import Client as Http

from pipeline.config import Gate
from pipeline.console import shelf
from pipeline.console.app import PAGE
from pipeline.console.judged import Judged
from pipeline.console.overview import overview
from pipeline.drift import Drift, FeatureDrift
from pipeline.layout import CARDS, report_folder, serving_folder
from pipeline.outcome import Ending, GateDecision
from serving.version_labels import CANARY, STABLE, read_labels, versions_on_disk, write_labels
from tests.console.conftest import TOKEN
from tests.console.shop import BOUGHT, IS_NEW, NEW, OLD, TITLES, UNAVAILABLE, vector


@pytest.fixture(scope="module")
def http(place):
    return Http(place.console())


def ask(http, path, status=200, **parameters):
    response = http.get(f"/api/{path}", query_string=parameters)
    assert response.status_code == status, response.text
    return response.json


def tell(http, path, token=TOKEN, **body):
    return http.post(
        f"/api/{path}", json=body, headers={"Authorization": f"Bearer {token}"} if token else {}
    )


class TestPage:
    def test_nothing_comes_from_elsewhere_and_nothing_stands_inline(self, http):
        files = {path.name: path.read_text("utf-8") for path in PAGE.iterdir()}
        for name, text in files.items():
            addresses = re.findall(r"\w+://[^\s'\"]+", text.replace("%3C", ""))
            assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name
        page = files["index.html"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", page)
        policy = http.get("/").headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy

    def test_every_file_that_the_page_asks_for_is_there_with_its_type(self, http):
        wanted, seen = {"/"}, set()
        while wanted:
            path = wanted.pop()
            seen.add(path)
            response = http.get(path)
            assert response.status_code == 200, path
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            found = re.findall(r'(?:from|src=|stylesheet" href=) ?"\.?(/[\w.]+)"', response.text)
            wanted |= set(found) - seen
        assert {path.name for path in PAGE.iterdir()} == {
            p.strip("/") or "index.html" for p in seen
        }
        assert http.get("/main.js").content_type.startswith("text/javascript")

    def test_an_unchanged_file_is_not_sent_again(self, http):
        first = http.get("/console.css")
        again = http.get("/console.css", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")

    @pytest.mark.parametrize(
        ("host", "status"),
        [("localhost:8502", 200), ("127.0.0.1", 200), ("[::1]:8502", 200), ("10.0.0.7:80", 200),
         ("localhost.:8502", 200), ("evil.example", 421), ("evil.example.", 421), ("", 421),
         ("localhost.evil.example:8502", 421)],
    )  # fmt: skip
    def test_only_names_that_no_other_site_can_have_are_answered(self, http, host, status):
        response = http.get("/api/status", headers={"Host": host})
        assert response.status_code == status
        if status == 421:
            assert repr(host) in response.json["error"] and "as localhost" in response.json["error"]

    def test_no_other_site_may_read_answers(self, http):
        response = http.get("/api/status", headers={"Origin": "http://evil.example"})
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        assert response.headers["Cache-Control"] == "no-store"


class TestAnswers:
    def test_status_says_which_versions_answer_and_what_they_are(self, http):
        status = ask(http, "status")
        assert status["reachable"] and status["read_only"]
        assert status["versions"] == [
            {"version": NEW, "labels": ["canary"]}, {"version": OLD, "labels": ["stable"]}
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "items"),
        [
            ("00003", ["00003"]),
            ("TEAPOT", ["00001", "00002", "00007"]),  # the most bought first
            ("creme brulee", ["00004"]),
            ("茶", ["00005"]),
            ("شاي", ["00006"]),
            ("retro red", ["00001", "00003"]),
            ("garden", ["00010", "00009", "00008"]),
            ("no such thing", []),
        ],
    )
    def test_search_finds_words_in_any_script(self, http, text, items):
        found = ask(http, "items", q=text)
        assert {item["item_id"] for item in found["found"]} == set(items)
        assert found["count"] == len(items)
        if text != "garden":
            assert [item["item_id"] for item in found["found"]] == items

    def test_search_puts_names_that_begin_with_the_text_first(self, http):
        assert ask(http, "items", q="garden")["found"][0]["item_id"] == "00008"

    def test_search_finds_customers_those_that_begin_so_first(self, http):
        assert ask(http, "users", q="9")["found"] == ["9"]
        assert ask(http, "users", q="34")["found"] == ["12347", "12348"]
        assert ask(http, "users", q="5") == {"version": NEW, "found": ["12350"], "count": 1}
        assert ask(http, "users") == {
            "version": NEW, "found": ["9", "12347", "12348", "12350"], "count": len(BOUGHT)
        }  # fmt: skip

    def test_customers_are_made_ready_for_a_search_once(self, place, monkeypatch):
        http, plain = Http(place.console()), mock.Mock(side_effect=shelf.plain)
        monkeypatch.setattr(shelf, "plain", plain)

        def made_ready():
            return sorted(call.args[0] for call in plain.mock_calls if call.args[0] in BOUGHT)

        ask(http, "items", q="pot")
        assert made_ready() == []
        for text in ("1", "12", "123"):
            ask(http, "users", q=text)
        assert made_ready() == sorted(BOUGHT)

    def test_a_product_has_its_neighbours_and_audience_by_name(self, http):
        found = ask(http, "product", item="00001", k=3)
        assert found["item"]["name"] == TITLES["00001"] and found["item"]["buyers"] == 2
        assert found["neighbours"][0]["name"] == TITLES["00003"]
        assert len(found["neighbours"]) == 3
        buyers = {user for user, items in BOUGHT.items() if "00001" in items}
        assert not buyers & {one["user_id"] for one in found["audience"]}
        ramekin = next(one for one in found["audience"] if one["user_id"] == "9")
        assert ramekin["latest"] == [TITLES["00004"]] and ramekin["bought"] == 1

    def test_a_title_has_the_neighbours_that_its_embedding_has(self, http):
        found = ask(http, "product", title="red garden teapot", price="7.5", k=12)
        cosine = {i: float(vector(t) @ vector("red garden teapot")) for i, t in TITLES.items()}
        assert found["item"] is None
        assert {n["item_id"] for n in found["neighbours"]} == set(TITLES) - UNAVAILABLE
        for neighbour in found["neighbours"]:
            assert neighbour["score"] == pytest.approx(cosine[neighbour["item_id"]], abs=0.01)
        scores = [neighbour["score"] for neighbour in found["neighbours"]]
        assert scores == sorted(scores, reverse=True)
        assert found["audience"][0]["user_id"] in ("12347", "12350")

    def test_a_list_says_why_each_item_is_in_it(self, http):
        found = ask(http, "customer", user="12347", k=2)
        assert [item["item_id"] for item in found["history"]] == BOUGHT["12347"][::-1]
        first, _ = found["list"]
        assert first["name"] == TITLES["00002"]
        assert [(why["name"], why["share"]) for why in first["because"]] == [
            (TITLES["00001"], pytest.approx(1 / 2)),
            (TITLES["00003"], pytest.approx(1 / 3)),
            (TITLES["00004"], pytest.approx(1 / 6)),
        ]
        assert first["words"] == [{"word": "blue", "share": pytest.approx(1 / 2)}]
        assert first["rest"] == pytest.approx(1 / 2)

    def test_new_only_and_somebody_unknown(self, http):
        found = ask(http, "customer", user="nobody", new_only="1")
        assert {item["item_id"] for item in found["list"]} == IS_NEW
        assert not found["is_known"] and found["history"] == []
        assert all(item["because"] == [] and item["rest"] is None for item in found["list"])

    def test_all_parts_of_an_answer_are_of_the_version_that_was_asked(self, http, place):
        place.model.asked.clear()
        assert ask(http, "customer", user="12347", version=OLD)["version"] == OLD
        ask(http, "product", item="00001", version=OLD)
        ask(http, "product", title="mug", version=OLD)
        assert {version for _, version in place.model.asked} == {OLD}
        assert len(place.model.asked) == 6

    @pytest.mark.parametrize(
        ("path", "parameters", "status", "said"),
        [
            ("product", {"item": "99999"}, 400, "no item '99999'"),
            ("product", {"title": " "}, 400, "needs a title"),
            ("product", {"title": "mug", "price": "cheap"}, 400, "'cheap'"),
            ("product", {"title": "mug", "price": "inf"}, 400, "no price"),
            ("product", {"title": "mug", "price": "-0.5"}, 400, "no price: it is 0 or more"),
            ("product", {"title": "mug", "price": "1e300"}, 400, "no price: number out of range"),
            ("product", {"title": "mug", "price": "cheap"}, 400, "no price: not a number"),
            ("product", {"item": "00001", "k": "101"}, 400, "1 to 100"),
            ("customer", {"user": "9", "k": "-1"}, 400, "k is -1; the console shows 1 to 100"),
            ("customer", {"user": " "}, 400, "needs the id of a customer"),
            ("customer", {"user": "9", "k": "0"}, 400, "k is 0; the console shows 1 to 100"),
            ("customer", {"user": "9", "k": "ten"}, 400, "'ten', which is no number"),
            ("customer", {"user": "9", "version": "7"}, 400, "--root"),
            ("nothing", {}, 404, ""),
        ],
    )
    def test_bad_questions_are_refused_by_what_is_wrong(self, http, path, parameters, status, said):
        assert said in ask(http, path, status, **parameters)["error"]

    def test_without_a_model_server_the_page_says_how_to_start_one(self, place):
        from pipeline.console.server import create_console
        from serving.client import Client

        http = Http(create_console(place.root, Client("127.0.0.1:1", timeout=1)))
        status = ask(http, "status")
        assert not status["reachable"] and "debut serve" in status["error"]
        assert "debut serve" in ask(http, "customer", 503, user="9")["error"]
        assert len(ask(http, "overview")["versions"]) == 2  # of the root alone


class TestReports:
    def test_only_reports_are_handed_out(self, http, place):
        folder = report_folder(place.root)
        folder.mkdir(exist_ok=True)
        (folder / "2026-11-27T19:43:42.87.html").write_text("<h1>Run</h1>")
        (folder / "drift.prom").write_text("secret")
        report = http.get("/reports/2026-11-27T19:43:42.87.html")
        assert report.text == "<h1>Run</h1>"
        assert "script-src" not in report.headers["Content-Security-Policy"]
        assert "default-src 'none'" in report.headers["Content-Security-Policy"]
        for name in ("drift.prom", "..%2Ftokens", "../tokens", "absent.html", "%2e%2e/tokens"):
            assert http.get(f"/reports/{name}").status_code == 404, name

    def test_the_model_card_of_a_version_is_handed_out_where_there_is_one(self, http, place):
        folder = report_folder(place.root) / CARDS
        folder.mkdir(parents=True)
        (folder / f"{NEW}.html").write_text("<h1>Card</h1>")
        (folder / f"{NEW}.json").write_text("secret")
        has_card = {one["version"]: one["has_card"] for one in ask(http, "overview")["versions"]}
        assert has_card == {NEW: True, OLD: False}
        card = http.get(f"/reports/cards/{NEW}.html")
        assert card.text == "<h1>Card</h1>"
        assert "script-src" not in card.headers["Content-Security-Policy"]
        for name in (f"{OLD}.html", f"{NEW}.json", "..%2F..%2Ftokens", "%2e%2e/tokens"):
            assert http.get(f"/reports/cards/{name}").status_code == 404, name


class TestChanges:
    def test_without_a_file_of_tokens_nothing_can_be_changed(self, own_root, place):
        http = Http(place.console(own_root))
        for path in ("promote", "rollback"):
            assert tell(http, path, version=str(OLD), reason="why").status_code == 403
        assert read_labels(serving_folder(own_root)) == {STABLE: OLD, CANARY: NEW}

    @pytest.mark.parametrize("token", [None, "guess", ""])
    def test_without_the_token_nothing_is_changed(self, own_root, place, token):
        console = place.console(own_root, token_file=place.token_file)
        http, before = Http(console), versions_on_disk(serving_folder(own_root))
        paths = [rule.rule for rule in console._routes.iter_rules() if "POST" in rule.methods]
        assert {"/api/promote", "/api/rollback"} <= set(paths)
        body = {"version": str(OLD), "newest": str(NEW), "reason": "why"}
        for path in paths:
            response = tell(http, path.removeprefix("/api/"), token, **body)
            assert response.status_code == 401, path
            assert response.headers["WWW-Authenticate"] == "Bearer"
            refused = http.get(path)
            assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
            assert refused.content_type == "application/json"
        assert read_labels(serving_folder(own_root)) == {STABLE: OLD, CANARY: NEW}
        assert versions_on_disk(serving_folder(own_root)) == before

    def test_with_it_the_canary_is_promoted_and_a_version_taken_back(self, own_root, place):
        http = Http(place.console(own_root, token_file=place.token_file))
        assert not ask(http, "status")["read_only"]
        assert tell(http, "promote", version=str(NEW), reason="it sells").json == {"version": NEW}
        assert read_labels(serving_folder(own_root)) == {STABLE: NEW}
        back = {"version": str(OLD), "newest": str(NEW)}
        refused = tell(http, "rollback", **back, reason=" ")
        assert refused.status_code == 400 and "No reason" in refused.json["error"]
        made = tell(http, "rollback", **back, reason="it does not").json["version"]
        assert versions_on_disk(serving_folder(own_root)) == [made, NEW, OLD]
        newest, *_ = ask(http, "overview")["versions"]
        assert (newest["version"], newest["base"]) == (made, OLD)
        assert (newest["reason"], newest["labels"]) == ("it does not", ["stable"])

    def test_nothing_is_pushed_twice_nor_over_a_version_that_was_not_seen(self, own_root, place):
        http = Http(place.console(own_root, token_file=place.token_file))
        back = {"version": str(OLD), "newest": str(NEW), "reason": "it does not sell"}
        assert tell(http, "rollback", **back).status_code == 200
        versions = versions_on_disk(serving_folder(own_root))
        again = tell(http, "rollback", **back)
        assert again.status_code == 409 and f"after {NEW}" in again.json["error"]
        assert versions_on_disk(serving_folder(own_root)) == versions and len(versions) == 3

    def test_a_canary_that_was_not_seen_is_not_promoted(self, own_root, place):
        http = Http(place.console(own_root, token_file=place.token_file))
        labels = {STABLE: NEW, CANARY: OLD}
        write_labels(serving_folder(own_root), labels)
        refused = tell(http, "promote", version=str(NEW))
        assert refused.status_code == 409 and f"that is {OLD} now" in refused.json["error"]
        assert read_labels(serving_folder(own_root)) == labels
        write_labels(serving_folder(own_root), {STABLE: OLD})
        assert "that is none now" in tell(http, "promote", version=str(NEW)).json["error"]
        assert read_labels(serving_folder(own_root)) == {STABLE: OLD}

    @pytest.mark.parametrize(
        ("path", "body"), [("promote", {}), ("rollback", {"version": str(OLD), "reason": "why"})]
    )
    def test_a_change_that_names_no_version_that_was_seen_is_refused(
        self, own_root, place, path, body
    ):
        http = Http(place.console(own_root, token_file=place.token_file))
        refused = tell(http, path, **body)
        assert refused.status_code == 400 and "is missing" in refused.json["error"]
        assert read_labels(serving_folder(own_root)) == {STABLE: OLD, CANARY: NEW}

    @pytest.mark.parametrize("body", ["[]", "no JSON", '{"reason": 3}', "x" * 20_000])
    def test_a_body_that_is_none_is_refused(self, own_root, place, body):
        http = Http(place.console(own_root, token_file=place.token_file))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert http.post("/api/promote", data=body, headers=headers).status_code in (400, 413)
        assert read_labels(serving_folder(own_root)) == {STABLE: OLD, CANARY: NEW}


def test_gates_and_drift_are_told_with_their_bounds():
    gate = Gate(metric="recall_at_20", slice="new", direction="higher", bound=0.2, tolerance=0.05)
    drift = Drift((FeatureDrift("price", "all", 0.3, 0.2),), 0.3, "the run before")
    decisions = (GateDecision(gate, 0.1, 0.3), GateDecision(gate, float("nan"), None))
    ending = Ending(
        decisions=decisions, blessed=False, infra_blessed=True, version=None, is_repeat=False
    )
    told = overview([], Judged("a run", ending, drift, "a run.html"))["run"]
    worse, unmeasured = told["gates"]
    assert (worse["candidate"], worse["baseline"], worse["passed"]) == (0.1, 0.3, False)
    assert (unmeasured["candidate"], unmeasured["passed"]) == (None, False)
    assert told["drift"]["features"] == [
        {"feature": "price", "split": "all", "divergence": 0.3, "threshold": 0.2}
    ]
    assert (told["drift"]["verdict"], told["drift"]["uncompared"]) == ("alert", "")
    json.dumps(told, allow_nan=False)


def test_ratings_that_were_not_compared_are_told_as_in_the_report():
    ending = Ending(decisions=(), blessed=True, infra_blessed=True, version=None, is_repeat=False)
    drift = Drift((), None, "the run before")
    told = overview([], Judged("a run", ending, drift, "a run.html"))["run"]["drift"]
    assert (told["ratings"], told["uncompared"]) == (None, drift.explain_uncompared())
    assert told["uncompared"].startswith("Predicted ratings are not compared: of so few")


def test_the_command_says_where_it_listens_and_ends_with_0(place):
    line = [
        sys.executable, "-c", "from pipeline.cli import main; main()", "console", "--root",
        str(place.root), "--target", place.target, "--port", "0",
    ]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert address and said.endswith("read-only.\n"), said
        with urllib.request.urlopen(f"{address[0]}api/status", timeout=60) as response:
            assert [one["version"] for one in json.load(response)["versions"]] == [NEW, OLD]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
