"""The page of the words and the words themselves say the same."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from wfsim.words import Given, Outcome, called, given

PAGE = (Path(__file__).parents[2] / "docs" / "testing-sagas.md").read_text(encoding="utf-8")
WORD = re.compile(r"\b(?:then|when|having)_\w+|\bthen_\w+|\banswering\b|\bunder\b|\bat_every_failure_point\b")


def words():
    return {name for part in (Given, Outcome) for name in dir(part) if not name.startswith("_")}


@pytest.mark.parametrize("word", sorted(words()))
def test_every_word_is_on_the_page(word):
    """No word is left out of its tables."""
    tables = PAGE[PAGE.index("## All words") : PAGE.index("## Side by side")]
    assert word in tables


def test_the_page_tells_of_no_other_words():
    """Whatever it calls a word is one."""
    assert set(WORD.findall(PAGE)) - words() == set()


def test_every_row_of_the_side_by_side_table_has_a_counterpart():
    """Nothing that the others can say is missing here."""
    rows = [line.split(" | ") for line in PAGE[PAGE.index("| Axon |") :].splitlines() if line.startswith("|")]
    assert len(rows) > 40
    assert all(row[-1].strip(" |") for row in rows)


def test_every_option_that_the_page_names_exists():
    """``then_scheduled(name, after=, at=)``: each is a parameter."""
    functions = {name: getattr(Outcome, name, None) or getattr(Given, name, None) for name in words()}
    functions |= {"given": given, "called": called}
    for name, options in re.findall(r"`\.?(\w+)\(([^`]*)\)`", PAGE):
        if name in functions and callable(functions[name]):
            known = inspect.signature(functions[name]).parameters
            unknown = [
                option for option in re.findall(r"(\w+)=(?=[,)]|$)", options + ")") if option not in known
            ]
            assert unknown == [], (name, options)


def test_every_word_is_documented_and_typed():
    """Each has a docstring, and says what it takes and gives."""
    for part in (Given, Outcome):
        for name in dir(part):
            word = getattr(part, name)
            if name.startswith("_") or not callable(word):
                continue
            assert inspect.getdoc(word), name
            signature = inspect.signature(word)
            assert signature.return_annotation is not inspect.Signature.empty, name
