"""Whatever users record becomes plain JSON, without addresses and without surprise."""

from __future__ import annotations

import enum
import json
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.history import Plain, Recorder, describe_error
from wfsim.history._plain import plain_data


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclass
class Order:
    number: int
    lines: tuple[str, ...]


class Opaque:
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


Point = namedtuple("Point", "x y")  # noqa: PYI024 - users have those too


def plain(value: Any) -> Any:
    """What the history holds after ``value`` was recorded."""
    recorder = Recorder(lambda: 0)
    recorder.event("effect", "", "e", "main", data={"v": value})
    history = recorder.history()
    json.loads(history.to_jsonl())
    return history[0].data["v"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        ("text", "text"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ((1, [2]), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (
            {1: "a", None: "b", (1, 2): "c", Colour.RED: "d"},
            {"1": "a", "null": "b", "[1,2]": "c", "red": "d"},
        ),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset({10, 9}), [10, 9]),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Order(5, ("book",)), {"number": 5, "lines": ["book"]}),
        (ValueError("bad"), {"error": "ValueError", "message": "bad"}),
        (json.JSONDecodeError("x", "", 0), {"error": "json.decoder.JSONDecodeError", "message": str}),
        (datetime(2030, 1, 1, tzinfo=UTC), "2030-01-01T00:00:00+00:00"),
        (date(2030, 1, 1), "2030-01-01"),
        (timedelta(seconds=90), "0:01:30"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (PurePosixPath("a/b"), "a/b"),
        (b"\x00\xff", "00ff"),
        (int, "<int>"),
        (Opaque, f"<{__name__}.Opaque>"),
        (Opaque(), f"<{__name__}.Opaque>"),
        (json.loads, "<json.loads>"),
        (2**300, hex(2**300)),
    ],
)
def test_every_kind_of_value_has_a_plain_form(value: Any, expected: Any) -> None:
    """Values of the usual kinds keep their meaning; of others only the name of the class is kept."""
    result = plain(value)
    if isinstance(expected, dict) and expected.get("message") is str:
        assert result["error"] == expected["error"]
    else:
        assert result == expected
        assert type(result) is type(expected)


def test_a_set_does_not_show_its_order() -> None:
    """Sets of anything, nested too, are sorted by their JSON."""
    words = [f"w{i}" for i in range(200)]
    assert plain({frozenset({w, 1}) for w in words}) == sorted([w, 1] for w in words)


def test_a_structure_that_contains_itself_is_cut() -> None:
    """Depth is bounded, so a cycle cannot hang the recorder."""
    loop: list[Any] = []
    loop.extend([loop, loop, loop])
    assert "..." in json.dumps(plain(loop))


def test_large_values_are_cut() -> None:
    """A long text, a long list and a large set are cut, and say how much is missing."""
    assert plain("x" * 30_000).endswith("... (+10000 characters)")
    assert len(plain(list(range(50_000)))) < 20_000
    assert plain(list(range(50_000)))[-1].startswith("... (+")
    assert len(plain(set(range(50_000)))) < 20_000
    assert "..." in plain({str(i): i for i in range(50_000)})


SCALARS = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text()


@given(SCALARS | st.lists(SCALARS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS)))
def test_what_is_plain_already_stays_as_it_is(value: Any) -> None:
    """JSON values go through unchanged."""
    assert plain(value) == value


def test_an_error_is_described_without_addresses() -> None:
    """The address of an object in a message differs in every run, so it is masked."""
    described = describe_error(ConnectionError(f"lost {Opaque()}"))
    assert described["error"] == "ConnectionError"
    assert described["message"].endswith("Opaque object at 0x...>")


def test_an_error_of_a_user_keeps_its_full_name() -> None:
    """Errors from outside the builtins bear their module's name."""
    assert describe_error(Mute())["error"] == f"{__name__}.Mute"


def test_an_error_that_cannot_be_printed_is_recorded() -> None:
    """A broken ``__str__`` in user code does not break the record of its error."""
    assert describe_error(Mute())["message"] == ""


def test_plain_data_is_taken_as_it_is():
    """What was made plain once is not looked at again, and says the same."""
    data = {"steps": [{"name": "a"}, {"name": "b"}], "when": None}
    once = Plain.of(data)
    assert once == data
    assert plain_data(once) is once
