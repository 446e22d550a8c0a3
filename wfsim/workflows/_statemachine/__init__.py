"""The state machine: hierarchical, parallel, with history, timers and a journal, by the rules of W3C SCXML."""

from __future__ import annotations

from wfsim.workflows._statemachine._checks import Problem
from wfsim.workflows._statemachine._context import MachineContext
from wfsim.workflows._statemachine._coverage import Coverage, transition_coverage
from wfsim.workflows._statemachine._machine import StateMachine
from wfsim.workflows._statemachine._parts import State, Transition, Work
from wfsim.workflows._statemachine._paths import Path, shortest_paths, simple_paths, transition_tour
from wfsim.workflows._statemachine._script import At
from wfsim.workflows._statemachine._session import Session

__all__ = [
    "At",
    "Coverage",
    "MachineContext",
    "Path",
    "Problem",
    "Session",
    "State",
    "StateMachine",
    "Transition",
    "Work",
    "shortest_paths",
    "simple_paths",
    "transition_coverage",
    "transition_tour",
]
