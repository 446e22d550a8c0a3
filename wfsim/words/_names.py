"""Names that a sentence speaks of, held against those that there are: a slip must not pass unnoticed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wfsim.nemesis import Rule
    from wfsim.words._subject import Subject

_GLOB = ("*", "?", "[")
_BACK = "compensate "
_SAYS = ("attempts", "ended", "value", "error", "where", "arguments")  # what else is said of a call
_CLOSE = 0.6
# Where not all names are known a close one may well be another: order.paid, order.placed.
_VERY_CLOSE = 0.88


def check_name(what: str, name: str, known: Iterable[str], of: str, *, is_all: bool) -> None:
    """Raise DesignError if a name is most likely a slip: one that is close to another, or not among all."""
    names = list(dict.fromkeys(known))
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1, cutoff=_CLOSE if is_all else _VERY_CLOSE)
    if close:
        raise DesignError(f"{of} has no {what} {name!r}; did you mean {close[0]!r}?")
    if is_all:
        raise DesignError(f"{of} has no {what} {name!r}; there are: {', '.join(names) or 'none'}")


def check_calls(subject: Subject, names: Iterable[str], seen: Iterable[str]) -> None:
    """Hold the names of calls against the design's steps, and against what was called."""
    steps = subject.steps
    known = [*(steps or ()), *seen]
    known += [_BACK + step for step in steps or ()]
    for name in names:
        if name not in known:
            check_name("step", name, known, _title(subject), is_all=steps is not None)


def check_arguments(call: str, names: Iterable[str], seen: Sequence[Mapping[str, object]]) -> None:
    """Hold the names of arguments against those that the calls of this name had; nothing is known before one."""
    known = list(dict.fromkeys(name for arguments in seen for name in arguments))
    for name in names if seen else ():
        if name in known:
            continue
        close = difflib.get_close_matches(name, [*known, *_SAYS], n=1)
        if not known and not close:
            raise DesignError(
                f"{call!r} is called without arguments, so none is {name!r}; what a lambda closes over cannot be "
                "seen: let the function take the context, or hand over functools.partial(function, ...)"
            )
        hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(known)}"
        raise DesignError(f"{call!r} has no argument {name!r}; {hint}")


def check_steps(subject: Subject, names: Sequence[str]) -> None:
    """Hold the names of steps against the design's, where those are known."""
    steps = subject.steps
    if steps is None:
        raise DesignError(
            f"{_title(subject)} has no steps that are known beforehand, so none can be given as done"
        )
    for name in names:
        check_name("step", name, steps, _title(subject), is_all=True)


def check_faults(subject: Subject, faults: Iterable[Rule]) -> None:
    """Refuse a fault at a step that is most likely misspelt."""
    steps = subject.steps
    for rule in faults:
        name = getattr(rule, "step", None)
        if steps and name and rule.topic is None and not any(sign in name for sign in _GLOB):
            check_name("step", name, steps, _title(subject), is_all=rule.point is None and rule.on is None)


def _title(subject: Subject) -> str:
    return f"{type(subject.example).__name__} {subject.name!r}"
