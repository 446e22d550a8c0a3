"""A machine as plain data: what the history is told of it, and all that checkers and coverage know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfsim.workflows._statemachine._machine import StateMachine
    from wfsim.workflows._statemachine._parts import State, Transition


def describe(machine: StateMachine) -> dict[str, Any]:
    """Give states and transitions by name; what is at its default is left out."""
    return {
        "initial": list(machine.initial),
        "states": {state.name: _state(state) for state in machine.states},
        "transitions": {one.id: _transition(one) for one in machine.transitions},
    }


def _state(state: State) -> dict[str, Any]:
    told = {
        "parent": state.parent,
        "initial": list(state.initial),
        "parallel": state.parallel,
        "final": state.final,
        "history": state.history,
    }
    return {name: value for name, value in told.items() if value}


def _transition(transition: Transition) -> dict[str, Any]:
    told = {
        "from": transition.source,
        "to": list(transition.targets),
        "on": list(transition.triggers),
        "after_ns": transition.after_ns,
        "always": transition.always,
        "guard": transition.guard and transition.guard.name,
        "in_state": list(transition.in_state),
        "actions": [call.name for call in transition.actions],
        "internal": transition.internal,
    }
    return {name: value for name, value in told.items() if value}
