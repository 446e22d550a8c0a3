"""The calls of a run: what the design asked others to do. Axon and its kin say commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from wfsim.errors import DesignError
from wfsim.history import plain_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.history import History, Span

# What encloses calls, or is the design's own business: none of it asks anybody to do anything.
_NO_CALLS: Final = frozenset(
    {"saga", "dag", "machine", "instance", "publish", "handle", "guard", "lock", "append", "ack", "deliver"}
)
_PLAIN: Final = frozenset({"forward", "task", "action", "enter", "exit", "output", "call"})
ANY: Final = object()


@dataclass(frozen=True, slots=True)
class Call:
    """A call that happened, with all its attempts.

    ``ended`` is "ok", "failed", "unknown" (nobody knows whether it took effect) or "unfinished"; ``value`` what
    it gave, as plain data; ``error`` the name of its last error. ``instance`` is the process it happened in.
    ``arguments`` are those of its function by name, as plain data; a step that takes a context has its ``input`` and
    ``results``, a function of a machine ``event``, ``payload``, ``input`` and ``data``.
    """

    name: str
    attempts: int
    ended: Literal["ok", "failed", "unknown", "unfinished"]
    value: Any
    error: str
    instance: str
    start_ns: int
    ops: tuple[int, ...]
    step: str = ""
    kind: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tells: tuple[str, ...] = ()
    """Which arguments are of interest, and so told."""

    def __str__(self) -> str:
        tries = f", {self.attempts} attempts" if self.attempts > 1 else ""
        how = {"failed": f" failed: {self.error}", "unknown": f" in doubt: {self.error}"}.get(self.ended, "")
        told = [f"{name}={self.arguments[name]!r}" for name in self.tells if name in self.arguments]
        given = f"({', '.join(told)})" if self.tells else ""
        return f"{self.name}{given}{how}{' is not finished' if self.ended == 'unfinished' else ''}{tries}"


@dataclass(frozen=True, slots=True)
class Called:
    """A call that is expected. What is not said of it may be anything."""

    name: str
    attempts: int | None = None
    ended: str | None = None
    value: Any = ANY
    error: str | None = None
    where: Callable[[Call], bool] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] | Callable[[Mapping[str, Any]], bool] | None = None

    @property
    def spoken_of(self) -> tuple[str, ...]:
        """The names of the arguments that are spoken of."""
        named = self.arguments if isinstance(self.arguments, Mapping) else ()
        return tuple(dict.fromkeys([*self.given, *named]))

    def matches(self, call: Call) -> bool:
        """Tell whether a call is as expected."""
        return (
            self.name == call.name
            and self.attempts in {None, call.attempts}
            and self.ended in {None, call.ended}
            and (self.value is ANY or plain_data({"value": self.value})["value"] == call.value)
            and self.error in {None, call.error}
            and self._fits(call.arguments)
            and (self.where is None or bool(self.where(call)))
        )

    def _fits(self, actual: Mapping[str, Any]) -> bool:
        if callable(self.arguments) and not self.arguments(actual):
            return False
        named = self.arguments if isinstance(self.arguments, Mapping) else {}
        if isinstance(self.arguments, Mapping) and set(named) != set(actual):
            return False
        return all(
            name in actual and _is_so(value, actual[name]) for name, value in {**named, **self.given}.items()
        )

    def __str__(self) -> str:
        said = [
            f"{word}={getattr(self, word)!r}"
            for word in ("attempts", "ended", "error")
            if getattr(self, word) is not None
        ]
        if self.value is not ANY:
            said.append(f"value={self.value!r}")
        said += [f"{name}={_in_words(value)}" for name, value in self.given.items()]
        if self.arguments is not None:
            said.append(f"arguments={_in_words(self.arguments)}")
        if self.where is not None:
            said.append(f"where={_in_words(self.where)}")
        return self.name + (f" ({', '.join(said)})" if said else "")


def _is_so(expected: Any, actual: Any) -> bool:
    """Tell whether an argument is as expected: the same as plain data, or as a function of it wants it."""
    if callable(expected):
        return bool(expected(actual))
    return bool(plain_data({"value": expected})["value"] == actual)


def _in_words(value: Any) -> str:
    return getattr(value, "__name__", "a function") if callable(value) else repr(value)


ExpectedCall: TypeAlias = str | Called

_ENDS: Final = ("ok", "failed", "unknown", "unfinished")


def called(
    name: str,
    *,
    attempts: int | None = None,
    ended: Literal["ok", "failed", "unknown", "unfinished"] | None = None,
    value: Any = ANY,
    error: type[BaseException] | str | None = None,
    where: Callable[[Call], bool] | None = None,
    arguments: Mapping[str, Any] | Callable[[Mapping[str, Any]], bool] | None = None,
    **given: Any,
) -> Called:
    """Say more of an expected call than its name: ``called("charge", attempts=3, ended="failed")``.

    Any other word is an argument by its name, compared as plain data, or by a function of it:
    ``called("charge", order="o-1", amount=lambda amount: amount > 10)``; what is not named may be anything.
    ``arguments`` are all of them and no others (also those whose names are words of this function), or a function
    of them all. A step that takes a context is given its ``input`` and ``results``. ``value`` is compared with what
    the call gave, as the history holds it: as plain data. ``where`` is a function of the :class:`Call`.
    Raise DesignError if nothing could ever be so.
    """
    if ended not in {None, *_ENDS}:
        raise DesignError(f"ended={ended!r} of called({name!r}) is unknown; allowed: {', '.join(_ENDS)}")
    if attempts is not None and (type(attempts) is not int or attempts < 1):
        raise DesignError(f"attempts={attempts!r} of called({name!r}) must be 1 or more")
    title = error.__name__ if isinstance(error, type) else error and error.rpartition(".")[2]
    if arguments is not None and not (isinstance(arguments, Mapping) or callable(arguments)):
        raise DesignError(
            f"arguments={arguments!r} of called({name!r}) must be a mapping by name, or a function of one"
        )
    return Called(name, attempts, ended, value, title, where, given, arguments)


def expected_call(one: Any) -> Called:
    """Read what a user expects: a name, or more of it."""
    if isinstance(one, Called):
        return one
    if isinstance(one, str) and one:
        return Called(one)
    raise DesignError(f"{one!r} is no call; write its name, or called('charge', attempts=2)")


def calls_of(history: History, since: int = -1) -> tuple[Call, ...]:
    """Give the calls that began after an operation, in order of their first attempts."""
    series: dict[tuple[object, ...], list[Span]] = {}
    found: list[list[Span]] = []
    for span in history.spans():
        if span.kind in _NO_CALLS or span.index <= since:
            continue
        whose = (span.kind, span.design, span.name, span.process, span.parent)
        before = series.get(whose)
        if before is not None and span.attempt == before[-1].attempt + 1:
            before.append(span)
            continue
        series[whose] = [span]
        found.append(series[whose])
    return tuple(_call(spans) for spans in found)


def title_of(kind: str, name: str) -> str:
    """Name a call as the timeline does: "charge", "compensate charge"."""
    return name if kind in _PLAIN or not kind else f"{kind} {name}"


def _call(spans: list[Span]) -> Call:
    first, last = spans[0], spans[-1]
    ended: Any = {"ok": "ok", "fail": "failed", "info": "unknown"}.get(last.outcome or "", "unfinished")
    result: Mapping[str, Any] = last.result
    return Call(
        title_of(first.kind, first.name),
        last.attempt,
        ended,
        result.get("value"),
        str(result.get("error", "")).rpartition(".")[2],
        first.process,
        first.start_ns,
        tuple(span.index for span in spans),
        first.name,
        first.kind,
        first.data.get("arguments", {}),
    )
