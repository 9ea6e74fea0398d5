"""A folder cut in two by time, and the recall that is measured on what is hidden."""

import pytest

from benchmarks.span_split import BOTH, FIRST, Question, cut
from benchmarks.spans import mean_recall
from components.ingestion.folder import open_folder
from models.errors import BadInput
from tests.benchmarks.shop import read, write_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    data, out = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("out")
    write_shop(data)
    return data, out, cut(data, out, seed=7)


def test_the_first_span_is_the_same_in_both_folders(shop):
    _, out, _ = shop
    assert open_folder(out / FIRST).spans == (1,)
    assert open_folder(out / BOTH).spans == (1, 2)
    for file in (out / FIRST / "span-1").iterdir():
        assert file.read_bytes() == (out / BOTH / "span-1" / file.name).read_bytes()


def test_every_interaction_is_in_its_span_or_hidden(shop):
    data, out, questions = shop
    new = {item for question in questions.values() for item in question.candidates}
    every = read(data / "interactions.csv")
    spans = [read(out / BOTH / f"span-{number}" / "interactions.csv") for number in (1, 2)]
    assert new and not {row["item_id"] for span in spans for row in span} & new
    left = [row for row in every if row["item_id"] not in new]
    assert sorted(row["timestamp"] for span in spans for row in span) == sorted(
        row["timestamp"] for row in left
    )
    latest = max(int(row["timestamp"]) for row in spans[0])
    assert latest < min(int(row["timestamp"]) for row in spans[1])
    assert 0.4 < len(spans[0]) / len(left) < 0.6


def test_an_item_comes_with_the_span_of_its_first_interaction(shop):
    data, out, questions = shop
    every = read(data / "interactions.csv")
    spans = [read(out / BOTH / f"span-{number}" / "items.csv") for number in (1, 2)]
    found = {row["item_id"]: number for number, rows in enumerate(spans, 1) for row in rows}
    begins = min(int(row["timestamp"]) for row in read(out / BOTH / "span-2" / "interactions.csv"))
    first: dict[str, int] = {}
    for row in every:
        time = int(row["timestamp"])
        first[row["item_id"]] = min(time, first.get(row["item_id"], time))
    assert found == {
        row["item_id"]: 1 if first.get(row["item_id"], begins) < begins else 2
        for row in read(data / "items.csv")
    }
    for number, question in questions.items():
        assert all(found[item] == number for item in question.candidates)


def test_users_are_asked_for_what_they_bought_of_a_span_s_new_products_in_that_span(shop):
    data, out, questions = shop
    begins = min(int(row["timestamp"]) for row in read(out / BOTH / "span-2" / "interactions.csv"))
    known = set()
    for number, question in questions.items():
        known |= {
            row["user_id"] for row in read(out / BOTH / f"span-{number}" / "interactions.csv")
        }
        expected: dict[str, set[str]] = {}
        for row in read(data / "interactions.csv"):
            is_then = (int(row["timestamp"]) < begins) == (number == 1)
            if row["item_id"] in question.candidates and is_then and row["user_id"] in known:
                expected.setdefault(row["user_id"], set()).add(row["item_id"])
        assert question.wanted == expected
        rows = [
            row
            for span in range(1, number + 1)
            for row in read(out / BOTH / f"span-{span}" / "interactions.csv")
        ]
        rows.sort(key=lambda row: int(row["timestamp"]))
        assert question.history == {
            user: [row["item_id"] for row in rows if row["user_id"] == user] for user in expected
        }


def test_the_cut_is_the_same_again_and_needs_a_folder_without_spans(shop, tmp_path):
    data, out, questions = shop
    assert cut(data, tmp_path / "again", seed=7) == questions
    with pytest.raises(BadInput, match="has spans"):
        cut(out / BOTH, tmp_path / "more", seed=7)


def test_recall_is_among_a_span_s_new_products_and_by_what_could_be_hit():
    listed = [f"i{place}" for place in range(40)]
    wanted = {
        "one": {"i0", "i38", "i1"}, "all": set(listed[::2]), "none": {"i9"},
    }  # fmt: skip
    history = {user: [user] for user in wanted}
    asked: list[tuple[str, list[str]]] = []

    def lists(users, histories):
        asked.extend(zip(users, histories, strict=True))
        return [listed for _ in users]

    found = mean_recall(lists, Question(listed[::2], wanted, history))
    assert found == pytest.approx((2 / 3 + 1.0 + 0.0) / 3)
    assert dict(asked) == history
    late = Question(listed, {"late": {"i19", "i20"}}, {"late": []})
    assert mean_recall(lists, late) == 0.5
