"""A state machine described in the file itself: its actions are calls of simulated services, its guards chances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import current
from wfsim.scenario._inline import KEY, Service, ServiceSpec
from wfsim.workflows import StateMachine, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.scenario._inline_saga import JournalSpec
    from wfsim.scenario._yaml import Path
    from wfsim.workflows import MachineContext, Policy, Problem


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """What a machine does: a call of a service, and the event (``raises``) that follows when it went well."""

    service: ServiceSpec
    policy: Policy | None = None
    raises: str | None = None

    def make(self, machine: str) -> Work:
        """Return the function. Its service knows a call that a crash made the machine repeat by ``context.id``."""
        service = Service(machine, self.service)

        async def act(context: MachineContext) -> str:
            done = await service.call(f"{KEY.get()} {context.id}")
            if self.raises is not None:
                context.raise_event(self.raises)
            return done

        return Work(act, self.service.name, self.policy)


@dataclass(frozen=True, slots=True)
class ChanceSpec:
    """A guard that agrees with a probability, anew each time it is asked."""

    probability: float
    name: str | None = None

    def make(self, machine: str, where: str) -> Work:
        """Return the guard."""
        name = self.name or f"guard {where}"

        def ask() -> bool:
            simulation = current()
            if simulation is None:
                raise DesignError(f"{machine} is described in a scenario file and runs in a simulation only")
            return simulation.stream(f"guard/{machine}/{name}").random() < self.probability

        return Work(ask, name)


Action = ActionSpec | Work
"""What a file describes, or a function that it names."""


@dataclass(frozen=True, slots=True)
class StateSpec:
    """One state: where it stands in the file (``at``), what is said of it, what is done in it."""

    name: str
    at: Path
    options: Mapping[str, Any]
    hooks: Mapping[str, tuple[Action, ...]]


@dataclass(frozen=True, slots=True)
class TransitionSpec:
    """One entry of the transitions, which may be several transitions."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    options: Mapping[str, Any]
    guard: ChanceSpec | Work | None = None
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A state machine described in a file."""

    name: str
    initial: tuple[str, ...]
    states: tuple[StateSpec, ...]
    transitions: tuple[TransitionSpec, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    journal: JournalSpec | None = None
    kind = "machine"

    def names(self) -> tuple[str, ...]:
        """Return what a fault may select: the names of actions, guards and states."""
        return self.make().steps

    def make(self) -> StateMachine:
        """Build the machine of one run; its services have seen no key yet."""
        machine = self.begin()
        for state in self.states:
            self.add_state(machine, state)
        for transition in self.transitions:
            self.add_transition(machine, transition)
        machine.chart()
        return machine

    def begin(self) -> StateMachine:
        """Build the machine without its parts."""
        journal = None if self.journal is None else self.journal.make()
        return StateMachine(self.initial, self.name, journal=journal, **self.options)

    def add_state(self, machine: StateMachine, state: StateSpec) -> None:
        """Add a state. Raise DesignError if it cannot be there."""
        hooks: dict[str, Any] = {name: self._functions(actions) for name, actions in state.hooks.items()}
        machine.add_state(state.name, **state.options, **hooks)

    def add_transition(self, machine: StateMachine, transition: TransitionSpec) -> None:
        """Add what one entry says. Raise DesignError if it cannot be there."""
        guard = transition.guard
        if isinstance(guard, ChanceSpec):
            where = f"{', '.join(transition.source)} -> {', '.join(transition.target) or 'stays'}"
            guard = guard.make(self.name, where)
        action = self._functions(transition.actions)
        target = transition.target or None
        machine.add_transition(transition.source, target, guard=guard, action=action, **transition.options)

    def _functions(self, actions: tuple[Action, ...]) -> list[Callable[..., Any] | Work]:
        return [action.make(self.name) if isinstance(action, ActionSpec) else action for action in actions]

    def places(self) -> dict[str, Path]:
        """Return where in the file each state and each transition stands, by the names that the machine gives."""
        machine = self.begin()
        found: dict[str, Path] = {}
        for number, transition in enumerate(self.transitions):
            before = len(machine.transitions)
            self.add_transition(machine, transition)
            for one in machine.transitions[before:]:
                found |= dict.fromkeys((one.id, *one.targets, one.source), ("transitions", number)) | found
        return found | {state.name: state.at for state in self.states}

    def remarks(self) -> list[tuple[Path, Problem]]:
        """Return what is most likely a mistake, with the place in the file of the part that it is about."""
        places = self.places()
        return [(places.get(problem.parts[0], ()), problem) for problem in self.make().check()]
