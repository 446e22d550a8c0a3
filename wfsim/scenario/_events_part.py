"""The ``events`` of a workload: what a state machine is told from outside, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from wfsim.harness import DesignTarget, Factory
from wfsim.scenario._inline import InlineTarget
from wfsim.scenario._problems import Collected, Wrong, unknown
from wfsim.scenario._template import Template
from wfsim.scenario._validate import DistributionField, Name, Part
from wfsim.workflows import At, StateMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wfsim.harness import Target
    from wfsim.kernel import Distribution, Stream


def _event(value: Any) -> Any:
    """Read a bare name as an event that follows at once."""
    return {"trigger": value} if isinstance(value, str) else value


class EventPart(Part):
    """One event: ``at`` a time since the start, or ``after`` a time since the one before."""

    trigger: Name
    at: DistributionField | None = None
    after: DistributionField | None = None
    payload: Any = None


EventsField = Annotated[
    list[Annotated[EventPart, BeforeValidator(_event)]] | None,
    Field(min_length=1),
]


@dataclass(frozen=True, slots=True)
class _Coming:
    """One event of the script; ``time`` counts from the start if ``since_start``, else from the one before."""

    trigger: str
    payload: Template
    time: Distribution | None
    since_start: bool


@dataclass(frozen=True, slots=True)
class Script:
    """Makes the events of one instance, each with the time at which it comes."""

    events: tuple[_Coming, ...]

    def __call__(self, instance: int, stream: Stream) -> Iterator[At]:
        """Yield the events of one instance, their times drawn anew."""
        now_ns = 0
        for event in self.events:
            drawn_ns = 0 if event.time is None else event.time.sample_ns(stream)
            now_ns = drawn_ns if event.since_start else now_ns + drawn_ns
            yield At(f"{now_ns}ns", event.trigger, event.payload(instance))


def read_script(parts: list[EventPart], target: Target | None) -> Script:
    """Return the script. Raises Wrong or Wrongs for a design that takes no events, or not these."""
    machine = machine_of(target) if target is not None else None
    if target is not None and machine is None:
        described = target.describe()
        raise Wrong(
            f"events are what a state machine is told, and {described.name} is a {described.kind}; drop them"
        )
    collected = Collected()
    for number, part in enumerate(parts):
        with collected.at((number,)):
            if part.at is not None and part.after is not None:
                raise Wrong(
                    "an event comes at a time, or after the one before, not both", at=("after",), key=True
                )
            if machine is not None:
                _check_answered(part.trigger, machine)
    collected.raise_if_any()
    coming = [
        _Coming(part.trigger, Template(part.payload), part.at or part.after, part.at is not None)
        for part in parts
    ]
    return Script(tuple(coming))


def machine_of(target: Target) -> StateMachine | None:
    """Return the state machine that a target runs, made anew where it makes one; None if it runs none."""
    if isinstance(target, InlineTarget):
        found: Any = target.spec.make()
    elif isinstance(target, DesignTarget):
        found = target.design
    else:
        found = target.make(**target.options) if isinstance(target, Factory) else None
    return found if isinstance(found, StateMachine) else None


def _check_answered(trigger: str, machine: StateMachine) -> None:
    """Refuse an event that nothing in the machine could ever answer: most likely its name is misspelt."""
    if not machine.answers(trigger):
        known = [event for one in machine.transitions for event in one.triggers]
        raise unknown("event", trigger, dict.fromkeys(known), at=("trigger",))
