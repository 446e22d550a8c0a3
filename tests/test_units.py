"""Durations, from people's text to nanoseconds and back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import DurationError
from wfsim.units import NS_PER_SECOND, format_duration, parse_duration

SOME_NS = st.one_of(
    st.integers(0, 10**4),
    st.integers(0, 10**20),
    st.integers(0, 10**9).map(lambda n: n * NS_PER_SECOND),
)


@given(SOME_NS)
def test_parse_undoes_format(ns: int) -> None:
    """What format_duration writes, parse_duration reads back exactly."""
    assert parse_duration(format_duration(ns)) == ns


@given(SOME_NS)
def test_format_undoes_itself_without_spaces(ns: int) -> None:
    """Spaces in a duration carry no meaning."""
    assert parse_duration(format_duration(ns).replace(" ", "")) == ns


@given(st.integers(0, 10**12))
def test_a_whole_number_is_seconds(seconds: int) -> None:
    """An int is a number of seconds, however large, without rounding."""
    assert parse_duration(seconds) == seconds * NS_PER_SECOND


@given(st.integers(0, 10**15))
def test_a_timedelta_is_exact(microseconds: int) -> None:
    """A timedelta loses nothing."""
    assert parse_duration(timedelta(microseconds=microseconds)) == microseconds * 1_000


@given(SOME_NS, st.integers(0, 9))
def test_rounding_stays_close(ns: int, decimals: int) -> None:
    """With ``decimals`` the text is off by at most half of the last digit it shows."""
    unit = next((size for size in (10**9, 10**6, 10**3) if ns >= size), 1)
    step = max(1, unit // 10**decimals)
    assert abs(parse_duration(format_duration(ns, decimals=decimals)) - ns) <= step // 2


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("1.5s", 1_500_000_000),
        ("2m", 120 * NS_PER_SECOND),
        ("1h30m", 5400 * NS_PER_SECOND),
        ("1h 30m", 5400 * NS_PER_SECOND),
        ("3d", 3 * 86_400 * NS_PER_SECOND),
        ("10us", 10_000),
        ("10µs", 10_000),
        ("10\u03bcs", 10_000),
        ("5ns", 5),
        ("0s", 0),
        (" 5 ms ", 5_000_000),
        ("0.5d", 43_200 * NS_PER_SECOND),
        (0.1, 100_000_000),
        (2, 2 * NS_PER_SECOND),
        (timedelta(minutes=1), 60 * NS_PER_SECOND),
    ],
)
def test_what_people_write_is_understood(text: Any, ns: int) -> None:
    """Text with units, numbers of seconds and timedeltas are durations."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5us"),
        (250_000_000, "250ms"),
        (1_500_000_000, "1.5s"),
        (90 * NS_PER_SECOND, "1m 30s"),
        (90_061_000_000_001, "1d 1h 1m 1.000000001s"),
        (-1_500_000_000, "-1.5s"),
    ],
)
def test_durations_read_well(ns: int, text: str) -> None:
    """A duration is written in the unit people would choose."""
    assert format_duration(ns) == text


def test_rounding_reaches_the_next_unit() -> None:
    """What rounds up to a whole larger unit is written in that unit."""
    assert format_duration(999_999_999, decimals=3) == "1s"
    assert format_duration(59_999_999_999, decimals=1) == "1m"
    assert format_duration(1_234_567_890, decimals=2) == "1.23s"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("5", 'did you mean "5s"?'),
        ("-5s", "negative"),
        (-1, "negative"),
        (-0.5, "negative"),
        (timedelta(seconds=-1), "negative"),
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (1e300, "not finite"),
        ("30m1h", "largest to the smallest"),
        ("1s1s", "largest to the smallest"),
        ("soon", "250ms"),
        ("", "250ms"),
        ("5 parsecs", "250ms"),
        (True, "250ms"),
        (None, "250ms"),
        ([1], "250ms"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_cure(wrong: Any, hint: str) -> None:
    """A wrong duration is named in the error, along with what to write instead."""
    with pytest.raises(DurationError, match=r".") as caught:
        parse_duration(wrong)
    assert hint in str(caught.value)
    assert repr(wrong) in str(caught.value)
