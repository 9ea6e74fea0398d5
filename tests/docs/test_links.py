"""Nobody who follows a link of the documentation ends nowhere, and every page can be reached."""

import re

import pytest

from tests.docs.pages import ROOT, anchors, links, name, pages


def _is_internal(link: str) -> bool:
    return not re.match(r"[a-z]+:", link)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_internal_link_resolves(page):
    for link in filter(_is_internal, links(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_every_page_is_reached_from_the_readme():
    reached, open_pages = set(), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        open_pages += [target for target in targets if target.suffix == ".md" and target.exists()]
    assert set(pages()) <= reached


def test_decisions_are_numbered_without_a_gap_and_have_a_status_and_the_three_parts():
    decisions = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [page.name[:4] for page in decisions] == [
        f"{number:04}" for number in range(1, len(decisions) + 1)
    ]
    for page in decisions:
        assert {"context", "decision", "consequences"} <= anchors(page), page.name
        title, status, *_ = page.read_text().split("\n\n")
        assert title.startswith(f"# {int(page.name[:4])}. "), page.name
        assert status.startswith(("Status: accepted", "Status: superseded by")), page.name
