"""What a sentence is about, and how it is had anew for each run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wfsim.errors import DesignError
from wfsim.harness import target_of
from wfsim.workflows import EventBus, StateMachine


@dataclass(frozen=True, slots=True)
class Subject:
    """A design, or the function that makes one, with the bus that it speaks on and a machine's input."""

    given: Any
    is_maker: bool
    example: Any
    """The design, to read names off; one that runs is made by ``make``."""
    bus: EventBus | None
    input: Any

    @property
    def name(self) -> str:
        """What the history calls it."""
        return design_name(self.example)

    @property
    def steps(self) -> tuple[str, ...] | None:
        """The names of what it calls; None if they are not known beforehand."""
        if isinstance(self.example, EventBus):
            return None
        found: tuple[str, ...] | None = target_of(self.example).describe().steps
        if found is None or not isinstance(self.example, StateMachine):
            return found
        states = [state.name for state in self.example.states]
        return tuple(name for name in found if name not in states)

    @property
    def remembers(self) -> str:
        """What carries over from run to run, in words; "" if nothing is known to."""
        journal = getattr(self.example, "journal", None)
        return "" if self.is_maker or journal is None else "keeps a journal, which remembers earlier runs"

    def make(self) -> Any:
        """Give what one run is about."""
        return _checked(self.given()) if self.is_maker else self.given


def subject_of(given: Any, bus: EventBus | None, value: Any) -> Subject:
    """Look at what ``given`` was given. Raise DesignError if it is nothing that runs."""
    if inspect.iscoroutine(given):
        given.close()  # else Python warns that it was never awaited
        raise DesignError(f"{given.__name__}() was called already; write given({given.__name__}).when(...)")
    is_maker = isinstance(given, type) or _is_plain_function(given)
    example = _checked(given()) if is_maker else _checked(given)
    if value is not None and not isinstance(example, StateMachine):
        raise DesignError(
            f"input={value!r} is what a state machine starts with; {design_name(example)!r} is none: "
            "write .when(input)"
        )
    own = example if isinstance(example, EventBus) else getattr(example, "bus", None)
    if bus is not None and not isinstance(bus, EventBus):
        raise DesignError(f"bus={bus!r} of given() is no EventBus")
    return Subject(given, is_maker, example, bus or (own if isinstance(own, EventBus) else None), value)


def design_name(design: Any) -> str:
    """Name a design or a function."""
    name = getattr(design, "name", None) or getattr(design, "__name__", None)
    return name if isinstance(name, str) else type(design).__name__


def _is_plain_function(given: Any) -> bool:
    is_routine = inspect.isfunction(given) or inspect.ismethod(given)
    return is_routine and not inspect.iscoroutinefunction(given)


def _checked(design: Any) -> Any:
    runs = callable(getattr(design, "run", None)) or isinstance(design, EventBus)
    if runs and not isinstance(design, type):
        return design
    if inspect.iscoroutine(design):
        design.close()
        raise DesignError(
            "given() takes a coroutine function itself; a plain function in its place makes the design"
        )
    if inspect.iscoroutinefunction(design) or isinstance(design, Callable):  # type: ignore[arg-type]
        return design
    raise DesignError(
        f"given({design!r}): a sentence is about a design with a run method, an EventBus, a coroutine function, "
        "or a class or plain function that makes one of these"
    )
