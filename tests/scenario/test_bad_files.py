"""Wrong files: each problem has its place, its field, what is allowed and what was meant."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.errors import ScenarioError
from wfsim.scenario import ScenarioErrors, load, load_text
from wfsim.scenario._expect import known_checkers

CHECKERS = ", ".join(sorted(known_checkers()))
TEXT = Path(__file__).with_name("bad_files.txt").read_text(encoding="utf-8")
CASES = TEXT.replace("{checkers}", CHECKERS).split("====\n")[1:]
EXPECTED = "> "
SAGA = """\
design:
  saga: checkout
  steps:
    - name: reserve
"""
LAUGHS = "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
"""Aliases of aliases: eight lines that stand for two million values."""


def problems(text, folder="."):
    """Read a wrong file and return the lines of its error, without the file's name."""
    with pytest.raises(ScenarioErrors) as caught:
        load_text(text, file="bad.yaml", folder=folder)
    return [line.removeprefix("bad.yaml:") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.partition(f"\n{EXPECTED}")[2][:60])
def test_a_wrong_file_is_explained(folder, case):
    """Each problem is one line: file, line, column, field, what is wrong, what is allowed, what was meant."""
    lines = case.splitlines()
    names = ", ".join(sorted(known_checkers()))
    expected = [
        line.removeprefix(EXPECTED).replace("{checkers}", names)
        for line in lines
        if line.startswith(EXPECTED)
    ]
    text = "".join(f"{line}\n" for line in lines if not line.startswith(EXPECTED))
    assert problems(text, folder) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: the file is empty; a scenario has at least a design"),
        ("\tdesign: x\n", "1:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("design: \x01\n", "1:9: the character U+0001 may not stand in YAML; remove it"),
        ("[" * 3000, "1:1: the file is nested too deeply"),
        (
            f"a: &a [x, x, x, x, x, x, x, x]\n{LAUGHS}",
            "1:1: the file is too large, or its aliases make it so",
        ),
    ],
    ids=["empty", "tab", "control character", "deep", "laughs"],
)
def test_a_text_that_is_hard_to_print_is_explained_too(text, expected):
    """Nothing, tabs, control characters, and texts made to exhaust the reader."""
    assert problems(text)[0].startswith(expected)


def test_the_parts_of_a_problem_can_be_asked_for(folder):
    """Tools find the parts without taking the text apart; the error as a whole has the first one's place."""
    with pytest.raises(ScenarioError) as caught:
        load_text(f"{SAGA}seeds: [1, two]\nbounds: {{stps: 1}}\n", file="bad.yaml", folder=folder)
    errors = caught.value
    assert [(error.line, error.column, error.field) for error in errors.errors] == [
        (5, 12, "seeds[1]"),
        (6, 10, "bounds.stps"),
    ]
    assert (errors.file, errors.line, errors.field) == ("bad.yaml", 5, "seeds[1]")
    assert errors.errors[1].allowed == ("time", "steps", "stalled_steps", "operations")
    assert errors.errors[1].suggestion == "steps"
    assert str(pickle.loads(pickle.dumps(errors))) == str(errors)


def test_a_file_that_cannot_be_read_is_explained(tmp_path):
    """No file, a folder, and a file that is no text have one line each, too."""
    (tmp_path / "latin.yaml").write_bytes("name: a\ndesign: caf\xe9\n".encode("latin-1"))
    told = {}
    for name in ("missing.yaml", ".", "latin.yaml"):
        with pytest.raises(ScenarioErrors) as caught:
            load(tmp_path / name)
        told[name] = str(caught.value).removeprefix(str(tmp_path))
    reason = "invalid continuation byte"
    assert told == {
        "missing.yaml": "/missing.yaml: there is no such file",
        ".": ": this is a folder; name a scenario file in it",
        "latin.yaml": f"/latin.yaml:2: this is no UTF-8 text: {reason}; save the file as UTF-8",
    }


def test_importing_leaves_nothing_behind(folder):
    """The search path for modules is as it was, also after a module that does not load."""
    before = list(sys.path)
    with pytest.raises(ScenarioErrors):
        load_text("design: needy.py:x\n", folder=folder)
    assert sys.path == before


_TEXT = "design saga steps name faults fail at expect holds 1s 3 [ ] { } ' # & * true .. !x"
_WORDS = st.sampled_from(_TEXT.split())
_JOINTS = st.sampled_from([": ", "- ", "\n", "\n  ", "\n    ", ", ", '"', "&a ", "*a "])


def errors_of(text):
    """Return the errors of a file; none if it is right."""
    try:
        load_text(text)
    except ScenarioErrors as errors:
        return errors.errors
    return ()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(_WORDS | _JOINTS, max_size=30).map("".join)))
def test_no_text_makes_a_traceback(text):
    """Whatever a file holds: it is an experiment, or ScenarioErrors with a place for each problem."""
    assert all(error.line >= 1 and error.column >= 1 for error in errors_of(text))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(["1s", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "step", "fail"]), inner)
    ),
    max_leaves=8,
)
_PLACES = (
    "seeds",
    "workload",
    "faults",
    "expect",
    "bounds",
    "start",
    "settle",
    "heal_after",
    "name",
    "design",
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_PLACES), _VALUES)
def test_no_value_in_any_section_makes_a_traceback(section, value):
    """Each section survives values of every type."""
    data = {"design": {"saga": "s", "steps": [{"name": "a"}]}, section: value}
    assert all(error.line == 1 and error.column > 1 for error in errors_of(json.dumps(data)))


def test_a_design_in_the_directory_above_is_suggested(folder):
    """Who writes the path as seen from where pytest runs gets the one that is right."""
    (folder / "scenarios").mkdir()
    problem = "there is no file designs.py; its path is relative to this file; did you mean '../designs.py'?"
    assert problems("design: designs.py:checkout\n", folder / "scenarios") == [f"1:9: design: {problem}"]
