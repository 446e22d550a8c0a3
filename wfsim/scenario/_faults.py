"""The ``faults`` section: what strikes, and where (``at``)."""

from __future__ import annotations

import fnmatch
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainValidator

from wfsim.errors import DesignError, InjectedFault, WfsimError
from wfsim.nemesis import (
    Corrupt,
    Crash,
    Delay,
    Duplicate,
    Fail,
    Hang,
    LoseEvent,
    LoseReply,
    Partition,
    Reorder,
    Rule,
)
from wfsim.scenario._plugins import plugins
from wfsim.scenario._problems import Collected, Problems, Wrong, Wrongs, unknown
from wfsim.scenario._reference import load_error, reference_to
from wfsim.scenario._validate import DurationNs, Name, Part, Probability, read_options, shown, validate
from wfsim.scenario._values import distribution_to_data, read_attempt, read_distribution
from wfsim.units import format_duration

if TYPE_CHECKING:
    from wfsim.harness import Description
    from wfsim.scenario._yaml import Path

_HERE = FilePath()
_MADE_BY_OPTIONS: dict[str, Any] = {
    "hang": Hang,
    "lose_reply": LoseReply,
    "crash": Crash,
    "lose_event": LoseEvent,
    "duplicate": Duplicate,
    "reorder": Reorder,
    "corrupt": Corrupt,
    "partition": Partition,
}
_KINDS = ("fail", "delay", *_MADE_BY_OPTIONS)
_ON = {
    "saga": ("forward", "compensate"),
    "dag": ("task",),
    "machine": ("action", "guard", "enter", "exit", "timer", "persist"),
}
_ALSO_ON = (
    *("started", "begun", "done", "failed", "completed"),
    *("turned", "compensating", "compensated", "stuck", "undone", "disk"),
    *("skipped", "resumed", "finished"),
)
"""What a saga or a DAG with a journal writes: a fault may strike before and after each of these."""


class AtPart(Part):
    """The ``at`` of a fault: which calls it strikes."""

    step: Name | None = None
    design: Name | None = None
    on: Name | None = None
    point: Name | None = None
    attempt: Annotated[Any, PlainValidator(read_attempt)] = None
    process: Name | None = None
    after: DurationNs | None = None
    before: DurationNs | None = None
    probability: Probability = 1.0
    count: Annotated[int, Field(ge=1)] | None = None
    topic: Name | None = None
    subscriber: Name | None = None
    skip: Annotated[int, Field(ge=0)] = 0


def read_faults(
    value: Any, path: Path, problems: Problems, folder: FilePath, known: Description | None
) -> tuple[Rule, ...]:
    """Return the rules of a file; the names that they select by are checked against the design."""
    if value is None:
        return ()
    rules = []
    with problems.at(path):
        if not isinstance(value, list):
            raise Wrong(f"expected a list of faults, got {shown(value)}")
        for number, entry in enumerate(value):
            with problems.at((*path, number)):
                rules.append(fault_from_data(entry, folder, known))
    return tuple(rules)


def fault_from_data(entry: Any, folder: FilePath = _HERE, known: Description | None = None) -> Rule:
    """Return the rule that one entry of a file describes. Raises ValueError with every problem of it.

    ``known`` is what is known of the design: a step that it does not have is refused.
    """
    if not isinstance(entry, dict):
        raise Wrong(f"expected a fault such as 'fail: ConnectionError', got {shown(entry)}", allowed=_KINDS)
    collected = Collected()
    with collected.at():
        kind = _kind_of(entry)
        with collected.at((kind,)):
            fault = _fault(kind, entry[kind], folder)
    with collected.at(("at",)):
        where = _where(entry.get("at"), known)
    collected.raise_if_any()
    return _rule(fault, where)


def fault_to_data(rule: Rule, folder: FilePath = _HERE) -> dict[str, Any]:
    """Return the entry of a file in ``folder`` that describes ``rule``: what ``fault_from_data`` reads."""
    where = rule.describe()
    del where["fault"]
    if isinstance(rule.attempt, range) and rule.attempt.step == 1:
        where["attempt"] = f"{rule.attempt.start}..{rule.attempt.stop - 1}"
    elif rule.attempt is not None and not isinstance(rule.attempt, int):
        where["attempt"] = list(rule.attempt)
    entry: dict[str, Any] = {rule.fault.kind: _options_to_data(rule.fault, folder)}
    return {**entry, "at": where} if where else entry


def _kind_of(entry: dict[str, Any]) -> str:
    """Return the one key that names a kind of fault; what else is there but ``at`` is wrong."""
    known = _all_kinds(entry)
    found = [key for key in entry if key in known]
    for key in entry:
        if key not in known and key != "at":
            what = "key" if found else "kind of fault"
            allowed = ("at",) if found else known
            raise unknown(what, key, allowed, at=(key,), key=True)
    if not found:
        raise Wrong("this entry names no kind of fault", allowed=known)
    if len(found) > 1:
        problem = f"one entry is one fault, not both {found[0]} and {found[1]}; begin a new entry with '-'"
        raise Wrong(problem, at=(found[1],), key=True)
    return found[0]


def _all_kinds(entry: dict[str, Any]) -> tuple[str, ...]:
    """Return the kinds there are; plugins are asked only if the entry is not all wfsim's own words."""
    if all(key in {*_KINDS, "at"} for key in entry):
        return _KINDS
    return (*_KINDS, *sorted(plugins().faults))


def _fault(kind: str, value: Any, folder: FilePath) -> Any:
    if kind == "fail":
        return _fail(value, folder)
    if kind == "delay":
        return Delay(read_distribution(value))
    make = _MADE_BY_OPTIONS.get(kind) or plugins().faults[kind]
    options = read_options(make, value)
    try:
        return make(**options)
    except Exception as error:  # a plugin's code may refuse its options in any way
        raise Wrong(str(error)) from error


class FailPart(Part):
    """The options of ``fail``."""

    error: Any = None
    message: str | None = None


def _fail(value: Any, folder: FilePath) -> Fail:
    """Read ``fail: ConnectionError``, ``fail: {error: ..., message: ...}`` or a bare ``fail:``."""
    part = validate(FailPart, value if isinstance(value, dict) else {"error": value})
    if part.error is None:
        return Fail(InjectedFault(part.message)) if part.message else Fail()
    try:
        error = load_error(part.error, folder)
    except Wrong as wrong:
        wrong.at = ("error",) if isinstance(value, dict) else ()
        raise
    try:
        return Fail(error(part.message) if part.message else error)
    except (WfsimError, TypeError) as wrong:
        raise Wrong(f"{part.error} cannot be raised with a message alone; name another error") from wrong


def _where(value: Any, known: Description | None) -> dict[str, Any]:
    """Return the rule's selectors; ``at: charge_card`` is short for its step."""
    if value is None:
        return {}
    part = validate(AtPart, {"step": value} if isinstance(value, str) else value)
    if known is not None:
        _check_names(part, known, short=isinstance(value, str))
    where = {name: getattr(part, name) for name in part.model_fields_set}
    for name in ("after", "before"):
        if where.get(name) is not None:
            where[name] = format_duration(where[name])
    return where


def _check_names(part: AtPart, known: Description, *, short: bool) -> None:
    """Refuse what the design does not have: a fault that can never strike proves nothing."""
    allowed = {"step": known.steps, "on": _ON.get(known.kind), "design": (known.name,)}
    wrongs = [
        unknown(_WORDS[field], value, names, at=() if short else (field,))
        for field, names in allowed.items()
        if names is not None
        and (value := getattr(part, field)) is not None
        and not fnmatch.filter((*names, *(_ALSO_ON if field == "on" else ())), value)
    ]
    if wrongs:
        raise Wrongs(wrongs)


_WORDS = {"step": "step", "on": "kind of operation", "design": "design"}


def _rule(fault: Any, where: dict[str, Any]) -> Rule:
    try:
        return Rule(fault, **where)
    except (WfsimError, TypeError) as error:
        raise Wrong(str(error), at=("at",)) from error


def _options_to_data(fault: Any, folder: FilePath) -> Any:
    """Write a fault's options as a file has them."""
    if isinstance(fault, Delay):
        return distribution_to_data(fault.by)
    if isinstance(fault, Fail):
        return _fail_to_data(fault, folder)
    return {name: value for name, value in fault.describe().items() if name != "kind"} or None


def _fail_to_data(fault: Fail, folder: FilePath) -> dict[str, Any]:
    """Write the error; of its arguments a file holds one, the message."""
    if not isinstance(fault.error, type | Exception):
        raise DesignError("a fault whose error a function makes cannot be written to a file; name its type")
    error = fault.error if isinstance(fault.error, type) else type(fault.error)
    message = "" if isinstance(fault.error, type) else str(fault.error)
    data = {"error": reference_to(error, folder)}
    return {**data, "message": message} if message else data
