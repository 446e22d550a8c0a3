"""The ``machine`` form of a design: its states, transitions, actions and guards, read from a scenario file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo

from wfsim.errors import DesignError
from wfsim.scenario._calls import CallPart
from wfsim.scenario._inline import InlineTarget
from wfsim.scenario._inline_machine import (
    Action,
    ActionSpec,
    ChanceSpec,
    MachineSpec,
    StateSpec,
    TransitionSpec,
)
from wfsim.scenario._problems import Collected, Wrong, unknown
from wfsim.scenario._reference import load_reference
from wfsim.scenario._saga_part import JournalPart, in_yaml, read_journal
from wfsim.scenario._validate import Name, Part, Probability, shown, validate
from wfsim.scenario._values import checked_duration
from wfsim.workflows import Work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path as FilePath

    from wfsim.harness import Target
    from wfsim.scenario._yaml import Path

ANY = "*"
_HOOKS = ("on_entry", "on_exit", "on_initial")


class ActionPart(CallPart):
    """What a machine does: a call of a simulated service."""

    name: Name
    raises: Name | None = None

    def spec(self) -> ActionSpec:
        """Return the action."""
        return ActionSpec(self.service(self.name, self.name), self.policy(), self.raises)


class GuardPart(Part):
    """A guard that agrees with a probability."""

    probability: Probability
    name: Name | None = None


def _names(value: Any) -> tuple[str, ...]:
    """Read one name, or a list of them."""
    several = value if isinstance(value, list) else [value]
    for number, one in enumerate(several):
        if not isinstance(one, str) or not one:
            at = (number,) if isinstance(value, list) else ()
            raise Wrong(f"expected a name, or a list of names, got {shown(one)}", at=at)
    if not several:
        raise Wrong("must not be empty")
    return tuple(several)


def _actions(value: Any, info: ValidationInfo) -> tuple[Action, ...]:
    """Read an action or a list: each is the name of its effect, a mapping, or a Python function."""
    folder = (info.context or {})["folder"]
    if not isinstance(value, list):
        return (_action(value, folder),)
    collected, found = Collected(), []
    for number, one in enumerate(value):
        with collected.at((number,)):
            found.append(_action(one, folder))
    collected.raise_if_any()
    return tuple(found)


def _action(value: Any, folder: FilePath) -> Action:
    if isinstance(value, str) and ":" in value:
        return _function(value, folder)
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict):
        raise Wrong(
            f'expected an action, got {shown(value)}; write its name, a mapping with name, or "file.py:function"',
            allowed=tuple(ActionPart.model_fields),
        )
    return validate(ActionPart, value, folder).spec()


def _guard(value: Any, info: ValidationInfo) -> ChanceSpec | Work:
    folder = (info.context or {})["folder"]
    if isinstance(value, str):
        return _function(value, folder)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"probability": value}
    if not isinstance(value, dict):
        raise Wrong(f'expected a guard, got {shown(value)}; write a probability, or "file.py:function"')
    part = validate(GuardPart, value, folder)
    return ChanceSpec(part.probability, part.name)


def _function(text: str, folder: FilePath) -> Work:
    found = load_reference(text, folder)
    if isinstance(found, Work):
        return found
    if not callable(found):
        raise Wrong(f"names a value of type {type(found).__name__}, which cannot be called")
    return Work(found)


def _state(value: Any) -> Any:
    """Read a bare name as a plain state."""
    return {"name": value} if isinstance(value, str) else value


Names = Annotated[Any, PlainValidator(_names)]
Actions = Annotated[Any, PlainValidator(_actions)]


class StatePart(Part):
    """One state; with ``states`` one that holds others."""

    name: Name
    initial: Names = None
    parallel: bool = False
    final: bool = False
    history: Literal["shallow", "deep"] | None = None
    on_entry: Actions = ()
    on_exit: Actions = ()
    on_initial: Actions = ()
    output: Any = None
    states: Annotated[list[Annotated[StatePart, BeforeValidator(_state)]] | None, Field(min_length=1)] = None

    def spec(self, at: Path, parent: str | None) -> StateSpec:
        """Return the state; ``parent`` is the one that it stands in."""
        told = {key: getattr(self, key) for key in ("initial", "parallel", "final", "history", "output")}
        hooks = {key: getattr(self, key) for key in _HOOKS}
        return StateSpec(self.name, at, told | {"parent": parent}, hooks)


class TransitionPart(Part):
    """One transition, or one from each of several states."""

    source: Names
    target: Names = ()
    trigger: Names = None
    after: Annotated[Any, PlainValidator(checked_duration)] = None
    always: bool = False
    guard: Annotated[Any, PlainValidator(_guard)] = None
    in_state: Names = None
    action: Actions = ()
    internal: bool = False

    def spec(self) -> TransitionSpec:
        """Return the transition."""
        told = {key: getattr(self, key) for key in ("trigger", "after", "always", "in_state", "internal")}
        return TransitionSpec(self.source, self.target, told, self.guard, self.action)


class MachinePart(Part):
    """A state machine in the file."""

    machine: Name
    transitions: Annotated[list[TransitionPart], Field(min_length=1)]
    states: Annotated[list[Annotated[StatePart, BeforeValidator(_state)]] | None, Field(min_length=1)] = None
    initial: Names = None
    data: dict[str, Any] = Field(default_factory=dict)
    unhandled: Literal["ignore", "raise"] = "ignore"
    errors: Literal["stay", "continue"] = "stay"
    actions: Literal["at_least_once", "at_most_once"] = "at_least_once"
    journal: Annotated[JournalPart | None, BeforeValidator(read_journal)] = None

    def spec(self) -> MachineSpec:
        """Return the machine. It begins in its first state, if the file does not say where."""
        states = tuple(part.spec(at, parent) for part, at, parent in _walk(self.states or (), ("states",)))
        first = states[0].name if states else self.transitions[0].source[0]
        return MachineSpec(
            self.machine,
            self.initial or (first,),
            states,
            tuple(part.spec() for part in self.transitions),
            {key: getattr(self, key) for key in ("data", "unhandled", "errors", "actions")},
            None if self.journal is None else self.journal.spec(),
        )


def read_machine(part: MachinePart) -> Target:
    """Return what runs the machine. Raises Wrong or Wrongs, with the part that cannot be there."""
    collected = Collected()
    spec = part.spec()
    _check_names(part, spec, collected)
    collected.raise_if_any()
    _try(spec)
    try:
        spec.make()
    except DesignError as error:
        raise Wrong(in_yaml(error), at=_place_of(str(error), spec.places())) from error
    return InlineTarget(spec)


def _walk(
    states: Sequence[StatePart], path: Path, parent: str | None = None
) -> Iterator[tuple[StatePart, Path, str | None]]:
    """Yield each state, where it stands in the file, and the name of the state that it stands in."""
    for number, state in enumerate(states):
        at = (*path, number)
        yield state, at, parent
        yield from _walk(state.states or (), (*at, "states"), state.name)


def _check_names(part: MachinePart, spec: MachineSpec, collected: Collected) -> None:
    """Find names of states that the file does not have. Without ``states`` the transitions name them all."""
    known = [state.name for state in spec.states]
    if not known:
        known = [name for one in part.transitions for name in (*one.source, *one.target) if name != ANY]
    known = list(dict.fromkeys(known))
    _check(part, "initial", known, collected, ())
    for state, at, _ in _walk(part.states or (), ("states",)):
        _check(state, "initial", known, collected, at)
    for number, transition in enumerate(part.transitions):
        here = ("transitions", number)
        _check(transition, "source", [*known, ANY], collected, here)
        _check(transition, "target", known, collected, here)
        _check(transition, "in_state", known, collected, here)


def _check(part: Part, field: str, known: list[str], collected: Collected, at: Path) -> None:
    names = getattr(part, field) or ()
    for number, name in enumerate(names):
        if name not in known:
            place = (*at, field, number) if len(names) > 1 else (*at, field)
            with collected.at(place):
                raise unknown("state", name, known)


def _try(spec: MachineSpec) -> None:
    """Build the machine once, so that what cannot be is found at the part where it begins to be wrong."""
    at: Path = ()
    try:
        machine = spec.begin()
        for state in spec.states:
            at = state.at
            spec.add_state(machine, state)
        for number, transition in enumerate(spec.transitions):
            at = ("transitions", number)
            spec.add_transition(machine, transition)
    except DesignError as error:
        raise Wrong(in_yaml(error), at=at) from error


def _place_of(problem: str, places: dict[str, Path]) -> Path:
    """Return where the part stands that a problem of the machine as a whole names first."""
    named = [(problem.find(repr(name)), -len(name), path) for name, path in places.items()]
    found = sorted((one for one in named if one[0] >= 0), key=lambda one: one[:2])
    return found[0][2] if found else ()
