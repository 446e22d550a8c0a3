"""The ``saga`` form of a design: its steps, and what holds for the whole, read from a scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from wfsim.errors import DesignError
from wfsim.scenario._calls import CallPart
from wfsim.scenario._inline import InlineTarget
from wfsim.scenario._inline_saga import JournalSpec, SagaSpec, StepSpec
from wfsim.scenario._problems import Collected, Wrong, unknown
from wfsim.scenario._validate import DurationNs, Name, Part, Probability
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.harness import Target
    from wfsim.scenario._yaml import Path
    from wfsim.workflows import Saga

_FLAGS = ("pivot", "retriable", "read_only", "atomic", "compensate_unknown")
_OF_A_SERVICE = tuple(name for name in (*CallPart.model_fields, "compensate", *_FLAGS) if name != "timeout")


def _compensation(value: Any) -> Any:
    """Read ``compensate: release_stock`` as the name of the compensation's effect."""
    return {"effect": value} if isinstance(value, str) else value


def read_journal(value: Any) -> Any:
    """Read ``journal: true`` as a journal like any other."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class StepPart(CallPart):
    """One step of a saga: a call, or with ``steps`` a saga of its own."""

    name: Name
    compensate: Annotated[CallPart | None, BeforeValidator(_compensation)] = None
    compensate_unknown: bool = False
    pivot: bool = False
    retriable: bool = False
    read_only: bool = False
    atomic: bool = True
    depends_on: list[str] | None = None
    steps: Annotated[list[StepPart], Field(min_length=1)] | None = None

    def spec(self) -> StepSpec:
        """Return the step."""
        undo = self.compensate
        return StepSpec(
            name=self.name,
            forward=self.service(self.name, None if self.read_only else self.name),
            compensate=undo.service(self.name, f"undo {self.name}") if undo else None,
            retry=self.retry,
            compensate_retry=undo.retry if undo else None,
            timeout_ns=self.timeout,
            compensate_timeout_ns=undo.timeout if undo else None,
            depends_on=None if self.depends_on is None else tuple(self.depends_on),
            steps=tuple(step.spec() for step in self.steps or ()),
            flags=tuple((flag, getattr(self, flag)) for flag in _FLAGS if flag in self.model_fields_set),
        )


class JournalPart(Part):
    """The journal of a saga, and the disk that it is on."""

    sync: bool = True
    latency: DurationNs = NS_PER_SECOND // 1000
    survives: Probability = 0.5
    tears: Probability = 0.5

    def spec(self) -> JournalSpec:
        """Return the journal."""
        return JournalSpec(self.sync, self.latency, self.survives, self.tears)


class SagaPart(Part):
    """A saga in the file."""

    saga: Name
    steps: Annotated[list[StepPart], Field(min_length=1)]
    recovery: Literal["backward", "forward"] = "backward"
    timeout: DurationNs | None = None
    journal: Annotated[JournalPart | None, BeforeValidator(read_journal)] = None

    def spec(self) -> SagaSpec:
        """Return the saga."""
        steps = tuple(step.spec() for step in self.steps)
        journal = None if self.journal is None else self.journal.spec()
        return SagaSpec(self.saga, steps, self.timeout, self.recovery, journal)


def read_saga(part: SagaPart) -> Target:
    """Return what runs the saga. Raises Wrong or Wrongs, with the step that cannot be there."""
    collected = Collected()
    _check_steps(part.steps, collected, ("steps",))
    collected.raise_if_any()
    spec = part.spec()
    try:
        saga = spec.begin()
    except DesignError as error:
        raise Wrong(in_yaml(error)) from error
    _try(spec, saga, spec.steps, ("steps",))
    return InlineTarget(spec)


def _check_steps(steps: Sequence[StepPart], collected: Collected, path: Path) -> None:
    """Find names that no step before has, and calls that are said to be a saga."""
    for number, step in enumerate(steps):
        earlier = [one.name for one in steps[:number]]
        for place, needed in enumerate(step.depends_on or ()):
            with collected.at((*path, number, "depends_on", place)):
                if needed == step.name:
                    raise Wrong(f"{needed!r} cannot depend on itself")
                if needed in [one.name for one in steps[number:]]:
                    raise Wrong(
                        f"{step.name!r} stands before {needed!r}, so it cannot depend on it; move it down"
                    )
                if needed not in earlier:
                    raise unknown("step", needed, earlier)
        if step.steps is not None:
            said = [name for name in _OF_A_SERVICE if name in step.model_fields_set]
            with collected.at((*path, number, *said[:1])):
                if said:
                    raise Wrong(
                        f"{step.name!r} is a saga of its own, with steps; {said[0]!r} belongs to one of them"
                    )
            _check_steps(step.steps, collected, (*path, number, "steps"))


def _try(spec: SagaSpec, saga: Saga, steps: Sequence[StepSpec], path: Path) -> None:
    """Build the saga once, so that what cannot be is found at the step where it begins to be wrong."""
    for number, step in enumerate(steps):
        if step.steps:
            _try(spec, SagaSpec(step.name, ()).begin(), step.steps, (*path, number, "steps"))
        try:
            spec.add(saga, step)
        except DesignError as error:
            raise Wrong(in_yaml(error), at=(*path, number)) from error


def in_yaml(error: object) -> str:
    """Say in the words of a file what an error or a remark says in those of Python."""
    text = str(error).replace("=True", ": true").replace("=...", ": ...").replace("='forward'", ": forward")
    return text.replace("depends_on=[]", "depends_on: []")
