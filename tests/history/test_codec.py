"""The history as JSON Lines: exact, stable, and strict about what it reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import HistoryError
from wfsim.history import History, Recorder

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.frozensets(st.integers() | st.text(max_size=4), max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.text(max_size=6)
OPS = st.tuples(
    st.sampled_from(["invoke", "ok", "fail", "info", "event"]),
    NAMES,
    NAMES,
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.integers(0, 10**6),
)


def recorded(steps: list[Any]) -> History:
    """Record some operations, each inside and caused by one before it."""
    recorder = Recorder(lambda: len(recorder) ** 2)
    for what, kind, name, data, number in steps:
        before = number % len(recorder) if len(recorder) else None
        if what == "invoke":
            recorder.invoke(kind, "design", name, "main", 1 + number, before, before, data)
        elif what == "event" or before is None:
            recorder.event(kind, "design", name, "main", 0, before, None, data)
        else:
            recorder.complete(what, before, before, data)
    return recorder.history()


@given(st.lists(OPS, max_size=6))
def test_reading_undoes_writing(steps: list[Any]) -> None:
    """Whatever can be recorded is read back as it was: operation for operation, byte for byte."""
    history = recorded(steps)
    again = History.from_jsonl(history.to_jsonl())
    assert list(again) == list(history)
    assert again.to_jsonl() == history.to_jsonl()
    assert again.fingerprint() == history.fingerprint()


@given(st.lists(OPS, min_size=1, max_size=4))
def test_every_line_is_json_with_the_operations_fields(steps: list[Any]) -> None:
    """A line is one ASCII JSON object: the fields of Op in order, without those that are None or empty."""
    history = recorded(steps)
    lines = history.to_jsonl().splitlines()
    assert len(lines) == len(history)
    for line, op in zip(lines, history, strict=True):
        assert line.isascii()
        whole = {name: getattr(op, name) for name in op.__slots__}
        optional = ("parent", "cause", "invoke", "data")
        shown = {name: v for name, v in whole.items() if name not in optional or v not in (None, {})}
        assert json.loads(line) == shown
        assert json.dumps(json.loads(line), separators=(",", ":")) == line


def test_an_empty_history_is_an_empty_text() -> None:
    """Nothing recorded, nothing written."""
    assert History().to_jsonl() == ""
    assert len(History.from_jsonl("")) == 0
    assert len(History.from_jsonl("\n\n")) == 0


GOOD = json.loads(recorded([("invoke", "task", "load", {"x": 1}, 0)]).to_jsonl())


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"index": 1}, "index 1 where 0 is due"),
        ({"type": "maybe"}, "invoke, ok, fail, info"),
        ({"kind": None}, "must be of type str"),
        ({"attempt": True}, "must be of type int"),
        ({"parent": 0}, "earlier operation"),
        ({"cause": -1}, "earlier operation"),
        ({"colour": "red"}, "'colour' is unknown"),
        ({"data": [1]}, "must be of type dict"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], hint: str) -> None:
    """A line that is no operation is refused, with its number, the field and what is wrong."""
    with pytest.raises(HistoryError, match=r"line 1 of the history") as caught:
        History.from_jsonl(json.dumps({**GOOD, **change}))
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["index", "time_ns", "type", "kind", "design", "name", "process", "attempt"])
def test_a_missing_field_is_named(name: str) -> None:
    """A field that every operation has may not be left out."""
    with pytest.raises(HistoryError, match=f"'{name}' is missing"):
        History.from_jsonl(json.dumps({key: value for key, value in GOOD.items() if key != name}))


@pytest.mark.parametrize("text", ["[1]", "{", '"op"', json.dumps({**GOOD, "data": {"x": float("nan")}})])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    """A line must hold one JSON object; NaN is not JSON."""
    with pytest.raises(HistoryError, match="line 1"):
        History.from_jsonl(text)


PROGRAM = """
from wfsim.history import Recorder
recorder = Recorder(lambda: 7)
colours = {"red", "green", "blue", "cyan", "teal", "plum"}
data = {"colours": colours, "deep": [{"a": frozenset(colours)}]}
recorder.event("effect", "d", "painted", "main", data=data)
data = {"object": object(), "error": ValueError(f"{object()}")}
recorder.event("effect", "d", "wrote", "main", data=data)
print(recorder.history().fingerprint())
"""


def test_the_fingerprint_does_not_depend_on_the_hash_seed() -> None:
    """Sets and objects without a stable text give one fingerprint in every process."""
    prints = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(prints) == 1


def test_the_fingerprint_is_that_of_the_format() -> None:
    """The bytes are pinned: a change of format changes every fingerprint that somebody noted down."""
    history = recorded([("invoke", "task", "läuft", {"x": 1.5, "n": [None, True]}, 0), ("ok", "", "", {}, 0)])
    assert history.to_jsonl() == (
        '{"index":0,"time_ns":0,"type":"invoke","kind":"task","design":"design","name":"l\\u00e4uft",'
        '"process":"main","attempt":1,"data":{"x":1.5,"n":[null,true]}}\n'
        '{"index":1,"time_ns":1,"type":"ok","kind":"task","design":"design","name":"l\\u00e4uft",'
        '"process":"main","attempt":1,"cause":0,"invoke":0}\n'
    )
    assert history.fingerprint() == "c3a7f39c08c1da1cbe28dd8a33067fc75f14a81d93aa55d50c194b25e6fb5a16"
