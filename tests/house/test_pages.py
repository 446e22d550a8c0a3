"""The pages hang together: an index, links that lead somewhere, and the three mistakes shown broken and right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wfsim import checkers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<part>[^)]*))?\)")
SCENARIO = re.compile(r"scenarios/[\w./-]+\.yaml")

GOTCHAS = {  # the page that tells of the pattern, and of the checkers those that find the mistake
    "circular-dependencies": ("dag.md", {"no_cycle", "every_task_decided", "completed"}),
    "lost-events": ("event-driven.md", {"no_event_lost", "subscribed_before_published"}),
    "compensation-order": ("saga.md", {"compensated_in_reverse", "reversed_in_order"}),
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file names one that is there, and a part of a page is a heading on it."""
    for link in LINK.finditer(text_of(page)):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), link.group()
        assert not link["part"] or link["part"] in headings(target), link.group()


def test_the_index_lists_every_page() -> None:
    """docs/README.md links to each page of docs/."""
    index = DOCS / "README.md"
    linked = {(index.parent / link["path"]).resolve() for link in LINK.finditer(text_of(index))}
    assert [name_of(page) for page in PAGES[1:] if page != index and page.resolve() not in linked] == []


@pytest.mark.parametrize("gotcha", GOTCHAS)
def test_a_gotcha_is_told_where_its_pattern_is(gotcha: str) -> None:
    """The page of the pattern links to it."""
    assert f"gotchas/{gotcha}.md" in text_of(DOCS / GOTCHAS[gotcha][0])


@pytest.mark.parametrize("gotcha", GOTCHAS)
def test_a_gotcha_is_shown_broken_and_right(gotcha: str) -> None:
    """Its page has a scenario that breaks, one that holds, and one of its checkers decides in both."""
    page, words = text_of(DOCS / "gotchas" / f"{gotcha}.md"), GOTCHAS[gotcha][1]
    assert words <= set(checkers.__all__)
    assert any(word in page for word in words)
    files = [(ROOT / name).read_text(encoding="utf-8") for name in SCENARIO.findall(page)]
    broken = [file for file in files if re.search(r"^  breaks:", file, re.MULTILINE)]
    right = [file for file in files if not re.search(r"^  breaks:", file, re.MULTILINE)]
    assert any(word in file for file in broken for word in words)
    assert any(word in file for file in right for word in words)
