"""Flows: they arrange steps.

A saga runs steps in a row and undoes them; a DAG runs tasks as soon as it may; a state machine answers events
by what it is in the middle of.

A flow is an ordinary object with a coroutine method ``run``: the same object runs in production on a plain
asyncio loop and under faults in virtual time. A policy, such as a retry, wraps one step; a flow knows a
policy by the :class:`Policy` protocol alone.

An event bus connects flows and services that need not know each other; an event store remembers what they
told each other.
"""

from __future__ import annotations

from wfsim.errors import Skip
from wfsim.workflows._dag import (
    TRIGGER_RULES,
    Agent,
    DAGResult,
    DAGWorkflow,
    Makespan,
    Schedule,
    Task,
    TriggerRule,
)
from wfsim.workflows._events import (
    CatchUp,
    Choreography,
    DeadLetter,
    Delivery,
    Event,
    EventBus,
    EventStore,
    Outbox,
    Projection,
    Receipt,
    Service,
    Snapshot,
    StoredEvent,
    Subscription,
    topic_matches,
)
from wfsim.workflows._policy import Policy
from wfsim.workflows._saga import ChoreographedSaga, Context, LockTable, Saga, Step
from wfsim.workflows._statemachine import (
    At,
    Coverage,
    MachineContext,
    Path,
    Problem,
    Session,
    State,
    StateMachine,
    Transition,
    Work,
    shortest_paths,
    simple_paths,
    transition_coverage,
    transition_tour,
)

__all__ = [
    "TRIGGER_RULES",
    "Agent",
    "At",
    "CatchUp",
    "ChoreographedSaga",
    "Choreography",
    "Context",
    "Coverage",
    "DAGResult",
    "DAGWorkflow",
    "DeadLetter",
    "Delivery",
    "Event",
    "EventBus",
    "EventStore",
    "LockTable",
    "MachineContext",
    "Makespan",
    "Outbox",
    "Path",
    "Policy",
    "Problem",
    "Projection",
    "Receipt",
    "Saga",
    "Schedule",
    "Service",
    "Session",
    "Skip",
    "Snapshot",
    "State",
    "StateMachine",
    "Step",
    "StoredEvent",
    "Subscription",
    "Task",
    "Transition",
    "TriggerRule",
    "Work",
    "shortest_paths",
    "simple_paths",
    "topic_matches",
    "transition_coverage",
    "transition_tour",
]
