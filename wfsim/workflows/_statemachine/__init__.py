"""The state machine: hierarchical, parallel, with history, timers and a journal, by the rules of W3C SCXML."""

from __future__ import annotations

from wfsim.workflows._statemachine._context import MachineContext
from wfsim.workflows._statemachine._machine import StateMachine
from wfsim.workflows._statemachine._parts import State, Transition
from wfsim.workflows._statemachine._session import Session

__all__ = ["MachineContext", "Session", "State", "StateMachine", "Transition"]
