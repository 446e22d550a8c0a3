"""What a list filter means: names and types of search attributes, comparisons, NULL.

Source: the server's ``common/persistence/visibility/store/query``, and what a real server answers.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.timetable import parse_go_duration
from wfsim_temporal.visibility._filter_parser import (
    BadFilter,
    Between,
    Comparison,
    Expression,
    IsNull,
    Joined,
    Not,
)
from wfsim_temporal.wire import STATUS

Row = Callable[[str], Any]
"""Gives the value of a search attribute, by its name; None if it has none."""

STATUS_NAMES: Final = {
    number: "".join(word.capitalize() for word in name.split("_"))
    for name, number in STATUS.items()
    if number
}
"""The names of statuses as filters write them, by their numbers."""

SYSTEM: Final = {
    **dict.fromkeys(("WorkflowId", "RunId", "WorkflowType", "ExecutionStatus", "TaskQueue"), "Keyword"),
    **dict.fromkeys(("ParentWorkflowId", "ParentRunId", "RootWorkflowId", "RootRunId"), "Keyword"),
    **dict.fromkeys(("StartTime", "ExecutionTime", "CloseTime", "TemporalScheduledStartTime"), "Datetime"),
    **dict.fromkeys(("ExecutionDuration", "HistoryLength", "HistorySizeBytes"), "Int"),
    **dict.fromkeys(
        ("TemporalChangeVersion", "BuildIds", "TemporalUsedWorkerDeploymentVersions"), "KeywordList"
    ),
    "TemporalPauseInfo": "KeywordList",
    **dict.fromkeys(("TemporalScheduledById", "ScheduleId", "TemporalNamespaceDivision"), "Keyword"),
    **dict.fromkeys(("TemporalWorkerDeployment", "TemporalWorkerDeploymentVersion"), "Keyword"),
    "TemporalWorkflowVersioningBehavior": "Keyword",
    "TemporalSchedulePaused": "Bool",
}
"""The types of the attributes that the server fills in itself."""

_NOT_SIMULATED: Final = frozenset(("StateTransitionCount",))
_PREFIX: Final = "Temporal"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_CLOCK: Final = re.compile(r"(\d+):(\d\d):(\d\d)")
_EXPECTED: Final[dict[str, tuple[type, ...]]] = {
    "Keyword": (str,),
    "KeywordList": (str,),
    "Text": (str,),
    "Int": (int, float),
    "Double": (int, float),
    "Bool": (bool,),
    "Datetime": (str, int),
}
_GO_TYPES: Final = {str: "string", bool: "bool", int: "int64", float: "float64"}
_ORDERED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "IN": lambda held, values: held in values,
    "NOT IN": lambda held, values: held not in values,
}
_OF_KEYWORDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    **_ORDERED,
    "STARTS_WITH": lambda held, value: held.startswith(value),
    "NOT STARTS_WITH": lambda held, value: not held.startswith(value),
}
_OF_LISTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda held, value: value in held,
    "!=": lambda held, value: value not in held,
    "IN": lambda held, values: any(value in held for value in values),
    "NOT IN": lambda held, values: not any(value in held for value in values),
}
_OF_TEXTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda held, value: bool(_words(held) & _words(value)),
    "!=": lambda held, value: not _words(held) & _words(value),
}
_OPERATORS: Final = {"Keyword": _OF_KEYWORDS, "KeywordList": _OF_LISTS, "Text": _OF_TEXTS}
_UNORDERED: Final = ("KeywordList", "Text")


def resolve(name: str, types: dict[str, str]) -> str:
    """Give the full name of an attribute. Raises BadFilter if there is none."""
    if name in _NOT_SIMULATED:
        raise NotSimulated(f"the search attribute {name} is not simulated")
    for known in (name, _PREFIX + name, name.removeprefix(_PREFIX)):
        if known in types:
            return known
    raise BadFilter(f"invalid search attribute: {name}")


def compile_filter(where: Expression, types: dict[str, str]) -> Callable[[Row], bool | None]:
    """Make a predicate; it gives None where SQL's answer is NULL. Raises BadFilter."""
    match where:
        case Joined(join, left, right):
            one, other = compile_filter(left, types), compile_filter(right, types)
            return _both(one, other) if join == "and" else _either(one, other)
        case Not(inner):
            compiled = compile_filter(inner, types)
            return lambda row: None if (held := compiled(row)) is None else not held
        case IsNull(name):
            full = resolve(name, types)
            return lambda row: row(full) is None
        case Between():
            return _between(where, types)
        case Comparison():
            return _comparison(where, types)


def _both(
    one: Callable[[Row], bool | None], other: Callable[[Row], bool | None]
) -> Callable[[Row], bool | None]:
    def holds(row: Row) -> bool | None:
        held = (one(row), other(row))
        return False if False in held else None if None in held else True

    return holds


def _either(
    one: Callable[[Row], bool | None], other: Callable[[Row], bool | None]
) -> Callable[[Row], bool | None]:
    def holds(row: Row) -> bool | None:
        held = (one(row), other(row))
        return True if True in held else None if None in held else False

    return holds


def _between(where: Between, types: dict[str, str]) -> Callable[[Row], bool | None]:
    name = resolve(where.name, types)
    kind = types[name]
    low, high = _value(name, kind, where.low), _value(name, kind, where.high)
    if kind in _UNORDERED:
        raise BadFilter(
            f"invalid expression: cannot do range condition on search attribute '{where.name}' of type {kind}"
        )
    return lambda row: None if (held := row(name)) is None else bool(low <= held <= high)


def _comparison(where: Comparison, types: dict[str, str]) -> Callable[[Row], bool | None]:
    name = resolve(where.name, types)
    kind = types[name]
    many = where.operator in {"IN", "NOT IN"}
    value = [_value(name, kind, one) for one in where.value] if many else _value(name, kind, where.value)
    compare = _OPERATORS.get(kind, _ORDERED).get(where.operator)
    if compare is None:
        told = f"operator '{where.operator}' not supported for {kind} type search attribute '{where.name}'"
        raise BadFilter(f"operation is not supported: {told}")
    if kind in _UNORDERED:  # the server looks these up in tables of their own, where nothing is no NULL
        nothing: Any = "" if kind == "Text" else ()
        return lambda row: compare(nothing if (held := row(name)) is None else held, value)
    return lambda row: None if (held := row(name)) is None else compare(held, value)


# -- values


def _value(name: str, kind: str, value: Any) -> Any:
    if name == "ExecutionStatus":
        return _status(name, kind, value)
    if name == "ExecutionDuration":
        return _duration(name, value)
    expected = _EXPECTED.get(kind, (str,))
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "Bool"):
        raise _wrong_type(name, kind, value)
    if kind == "Datetime" and isinstance(value, str):
        return parse_date(value)
    if kind == "Text" and not _words(value):
        raise BadFilter(f"invalid expression: no tokens found filtering on Text type search attribute {name}")
    return value


def _wrong_type(name: str, kind: str, value: Any) -> BadFilter:
    told = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return BadFilter(
        f"invalid expression: invalid value type for search attribute {name} of type {kind}: "
        f"{told} (type: {_GO_TYPES[type(value)]})"
    )


def _status(name: str, kind: str, value: Any) -> int:
    if isinstance(value, str):
        found = [number for number, known in STATUS_NAMES.items() if known == value]
        if found:
            return found[0]
        raise BadFilter(f"invalid expression: invalid {name} value '{value}'")
    if isinstance(value, bool | float):
        raise _wrong_type(name, kind, value)
    if value not in STATUS_NAMES:
        raise BadFilter(f"invalid expression: invalid {name} value {value}")
    return int(value)


def _duration(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise BadFilter(
            f"invalid expression: unexpected value type {_GO_TYPES[type(value)]} for search attribute {name}"
        )
    clock = _CLOCK.fullmatch(value)
    if clock is not None:
        hours, minutes, seconds = map(int, clock.groups())
        return (hours * 3600 + minutes * 60 + seconds) * NS_PER_SECOND
    try:
        return parse_go_duration(value)
    except ValueError:
        raise BadFilter(
            f"invalid expression: invalid duration value for search attribute {name}: {value}"
        ) from None


def parse_date(text: str) -> int:
    """Read a date in RFC 3339; give nanoseconds since 1970. Raises BadFilter."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise BadFilter(f"invalid expression: unable to parse datetime '{text}'")
    fraction = found[1] or ""
    whole = datetime.fromisoformat(text.replace(fraction, "", 1) if fraction else text)
    nanos = int((fraction[1:] + "0" * 9)[:9])
    return int(whole.timestamp()) * NS_PER_SECOND + nanos


def _words(text: Any) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))
