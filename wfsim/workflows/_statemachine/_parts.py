"""What the user writes: states and transitions, each checked by itself as soon as it is added."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from wfsim.errors import DesignError
from wfsim.units import Duration, format_duration, parse_duration
from wfsim.workflows._naming import checked_name, did_you_mean, name_of
from wfsim.workflows._policy import Policy, check_policy
from wfsim.workflows._signature import takes


@dataclass(frozen=True, slots=True)
class Work:
    """A function that a machine calls, with a ``name`` and a policy (``retry``) of its own.

    It may stand wherever a function may: ``add_state("paid", on_entry=Work(ship, retry=Retry(3)))``. A guard may
    have a name, but no policy: it is asked, and asked again with the next event.
    """

    fn: Callable[..., Any]
    name: str | None = None
    retry: Policy | None = None


Function: TypeAlias = "Callable[..., Any] | Work"
Functions: TypeAlias = "Function | Sequence[Function] | None"
CallKind: TypeAlias = Literal["guard", "action", "enter", "exit", "output"]
HistoryKind: TypeAlias = Literal["shallow", "deep"]

ANY: Final = "*"
_HISTORIES: Final = ("shallow", "deep")


@dataclass(frozen=True, slots=True)
class Call:
    """One function of the user's that a machine calls: a guard, an action, an entry or an exit hook."""

    kind: CallKind
    name: str
    fn: Callable[..., Any]
    takes_context: bool
    retry: Policy | None
    where: str
    """The state, or the transition's name: ``pending -> building``."""


@dataclass(frozen=True, slots=True)
class State:
    """A state as it was added; ``StateMachine.add_state`` says what the fields mean."""

    name: str
    parent: str | None = None
    initial: tuple[str, ...] = ()
    parallel: bool = False
    final: bool = False
    history: HistoryKind | None = None
    on_entry: tuple[Call, ...] = ()
    on_exit: tuple[Call, ...] = ()
    on_initial: tuple[Call, ...] = ()
    output: Any = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A transition as it was added; ``StateMachine.add_transition`` says what the fields mean."""

    id: str
    source: str
    targets: tuple[str, ...]
    triggers: tuple[str, ...]
    guard: Call | None
    in_state: tuple[str, ...]
    actions: tuple[Call, ...]
    internal: bool
    always: bool
    after_ns: int | None

    @property
    def unnamed(self) -> bool:
        """Whether no event, time or condition is named that sets it off."""
        return not self.triggers and not self.always and self.after_ns is None

    @property
    def unconditional(self) -> bool:
        """Whether nothing keeps it from being taken once its event is there."""
        return self.guard is None and not self.in_state

    @property
    def cue(self) -> str:
        """What sets it off, in words: ``on build``, ``after 5m``, ``always``, ``on any event``."""
        if self.always:
            return "always"
        if self.after_ns is not None:
            return f"after {format_duration(self.after_ns)}"
        return f"on {' or '.join(self.triggers)}" if self.triggers else "on any event"


def label(source: str, targets: Sequence[str]) -> str:
    """Name a transition by its ends: ``pending -> building``, ``open (stays)``."""
    return f"{source} -> {', '.join(targets)}" if targets else f"{source} (stays)"


def calls(
    kind: CallKind,
    given: Functions,
    where: str,
    retry: Policy | None = None,
) -> tuple[Call, ...]:
    """Read one function, a list of them, or none. Raise DesignError if one cannot be called."""
    if given is None:
        return ()
    part = f"{_KIND_WORDS[kind]} of {where!r}"
    check_policy(retry, f"retry of {where!r}")
    several = given if isinstance(given, list | tuple) else (given,)
    return tuple(_call(kind, one, where, part, retry) for one in several)


def _call(kind: CallKind, given: Function, where: str, part: str, retry: Policy | None) -> Call:
    work = given if isinstance(given, Work) else Work(given)
    if work.name is not None:
        checked_name(work.name, part)
    if work.retry is not None:
        check_policy(work.retry, f"retry of {part}")
        if kind in {"guard", "output"}:
            raise DesignError(
                f"{part} has retry=, which nobody would follow; only actions and hooks have one"
            )
    name = work.name or name_of(work.fn) or f"{kind} {where}"
    return Call(kind, name, work.fn, _takes_context(work.fn, part), work.retry or retry, where)


_KIND_WORDS: Final = {
    "guard": "guard",
    "action": "action",
    "enter": "on_entry",
    "exit": "on_exit",
    "output": "output",
}


def _takes_context(fn: object, part: str) -> bool:
    wanted = takes(fn, part)
    if wanted.least > 1:
        raise DesignError(f"{part} takes {wanted}; it may take none, or one: the context of the moment")
    return wanted.least == 1


def names(given: str | Sequence[str] | None, part: str) -> tuple[str, ...]:
    """Read a name, several, or none. Raise DesignError if one is no name."""
    if given is None:
        return ()
    several = given if isinstance(given, list | tuple) else (given,)
    return tuple(checked_name(name, part) for name in several)


def delay_ns(after: Duration | None, part: str) -> int | None:
    """Read the time after which a transition is taken. Raise DesignError if it is none."""
    if after is None:
        return None
    return parse_duration(after, f"after of {part}")


def check_history(history: object, name: str, parent: str | None) -> None:
    """Raise DesignError unless this is no history state, or one that can work."""
    if history is None:
        return
    if history not in _HISTORIES:
        hint = did_you_mean(str(history), _HISTORIES)
        raise DesignError(f"history of state {name!r} is {history!r}{hint}; allowed: shallow, deep")
    if parent is None:
        raise DesignError(
            f"history state {name!r} has no parent, so there is nothing that it could remember; "
            "write parent= the state whose past it keeps"
        )


def plain_output(output: Any, where: str) -> Any:
    """Read what a final state hands on: a function to be called, or a plain value."""
    if callable(output) and not isinstance(output, Mapping):
        return calls("output", output, where)[0]
    return output
