"""Which states and transitions of a machine some runs have seen, and which none has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wfsim.errors import DesignError
from wfsim.history import History

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wfsim.history import Op
    from wfsim.workflows._statemachine._machine import StateMachine


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often each state was entered and each transition taken, over some histories."""

    design: str
    states: Mapping[str, int]
    transitions: Mapping[str, int]

    @property
    def missing_states(self) -> tuple[str, ...]:
        """The states that no run entered."""
        return tuple(name for name, count in self.states.items() if not count)

    @property
    def missing_transitions(self) -> tuple[str, ...]:
        """The transitions that no run took."""
        return tuple(name for name, count in self.transitions.items() if not count)

    @property
    def complete(self) -> bool:
        """Whether every state was entered and every transition taken."""
        return not self.missing_states and not self.missing_transitions

    @property
    def ratio(self) -> float:
        """The part of the transitions that was taken, from 0 to 1."""
        return _ratio(self.transitions)

    def __bool__(self) -> bool:
        return self.complete

    def __str__(self) -> str:
        """Tell the numbers, then, line by line, what was never seen."""
        lines = [
            f"state machine {self.design!r}: {_share(self.transitions)} transitions, {_share(self.states)} states"
        ]
        lines += [f"  never taken: {name}" for name in self.missing_transitions]
        lines += [f"  never entered: {name}" for name in self.missing_states]
        return "\n".join(lines)


def transition_coverage(machine: StateMachine, histories: Iterable[History] | History) -> Coverage:
    """Count, over the histories of some runs, what of a machine they have seen.

    Usable as an assertion: ``assert transition_coverage(machine, histories)`` fails with the list of what was
    never seen. Raise DesignError if a history tells of another machine of the same name.
    """
    several = [histories] if isinstance(histories, History) else list(histories)
    nodes = machine.chart().nodes
    states = {name: 0 for name, node in nodes.items() if not node.history}
    transitions = {one.id: 0 for one in machine.transitions if not _is_default(machine, one.source)}
    for history in several:
        for op in history.where(kind="transition", design=machine.name):
            for name in _counted(op, "taken", transitions, machine.name):
                transitions[name] += 1
            before, after = _around(op, "from", machine), _around(op, "to", machine)
            for name in after:
                states[name] += name not in before
    return Coverage(machine.name, states, transitions)


def _is_default(machine: StateMachine, source: str) -> bool:
    """Tell whether a transition only says where a history state leads without a past."""
    node = machine.chart().nodes.get(source)
    return node is not None and node.history is not None


def _counted(op: Op, field: str, known: Mapping[str, int], design: str) -> list[str]:
    names = [str(name) for name in op.data.get(field, ())]
    for name in names:
        if name not in known:
            raise DesignError(
                f"the history tells of {name!r}, which state machine {design!r} has not: it is of another version"
            )
    return names


def _around(op: Op, field: str, machine: StateMachine) -> dict[str, None]:
    """Give the states of a configuration, those around the atomic ones among them."""
    nodes = machine.chart().nodes
    found: dict[str, None] = {}
    for name in _counted(op, field, dict.fromkeys(nodes, 0), machine.name):
        found.update((node.name, None) for node in (nodes[name], *nodes[name].up) if node.name)
    return found


def _ratio(counts: Mapping[str, int]) -> float:
    return sum(count > 0 for count in counts.values()) / len(counts) if counts else 1.0


def _share(counts: Mapping[str, int]) -> str:
    seen = sum(count > 0 for count in counts.values())
    return f"{seen} of {len(counts)}"
