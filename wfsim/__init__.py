"""wfsim: break your workflow before production does.

The front door. Each name below is imported from its room when it is first used, so that
``import wfsim`` (which every pytest session pays for) costs well under a millisecond.

``simulate`` runs any coroutine function or design in virtual time and returns a ``Run``;
``Saga``, ``DAGWorkflow``, ``Task``, ``StateMachine`` and ``Retry`` are designs and policies that run in
production too, and so are ``EventBus`` and its kin, which connect services; ``fail``,
``delay``, ``hang``, ``lose_reply`` and ``crash`` are faults to hand to ``simulate``,
``lose_event`` and its kin those of events; ``checkers`` judge the run's ``History``; ``given`` begins a test that
is one sentence.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs ten times as much as this whole file; type checkers know the name
if TYPE_CHECKING:
    from typing import Any

    from wfsim import checkers
    from wfsim.errors import WfsimError
    from wfsim.harness import Experiment, Run, check_determinism, simulate
    from wfsim.history import History, Op
    from wfsim.kernel import effect, fault_point, now, sleep, start_process
    from wfsim.nemesis import (
        corrupt,
        crash,
        delay,
        duplicate,
        fail,
        hang,
        lose_event,
        lose_reply,
        partition,
        reorder,
    )
    from wfsim.resilience import Retry
    from wfsim.storage import MemoryJournal, SQLiteJournal
    from wfsim.words import called, given
    from wfsim.workflows import (
        Agent,
        ChoreographedSaga,
        Choreography,
        DAGWorkflow,
        Event,
        EventBus,
        EventStore,
        LockTable,
        Outbox,
        Saga,
        Service,
        Skip,
        StateMachine,
        Task,
    )

__version__ = "0.1.0"

_ROOMS = {
    "checkers": ("checkers",),
    "errors": ("WfsimError",),
    "harness": ("Experiment", "Run", "check_determinism", "simulate"),
    "history": ("History", "Op"),
    "kernel": ("effect", "fault_point", "now", "sleep", "start_process"),
    "nemesis": (
        "corrupt",
        "crash",
        "delay",
        "duplicate",
        "fail",
        "hang",
        "lose_event",
        "lose_reply",
        "partition",
        "reorder",
    ),
    "resilience": ("Retry",),
    "storage": ("MemoryJournal", "SQLiteJournal"),
    "words": ("called", "given"),
    "workflows": (
        "Agent",
        "ChoreographedSaga",
        "Choreography",
        "DAGWorkflow",
        "Event",
        "EventBus",
        "EventStore",
        "LockTable",
        "Outbox",
        "Saga",
        "Service",
        "Skip",
        "StateMachine",
        "Task",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Agent",
    "ChoreographedSaga",
    "Choreography",
    "DAGWorkflow",
    "Event",
    "EventBus",
    "EventStore",
    "Experiment",
    "History",
    "LockTable",
    "MemoryJournal",
    "Op",
    "Outbox",
    "Retry",
    "Run",
    "SQLiteJournal",
    "Saga",
    "Service",
    "Skip",
    "StateMachine",
    "Task",
    "WfsimError",
    "__version__",
    "called",
    "check_determinism",
    "checkers",
    "corrupt",
    "crash",
    "delay",
    "duplicate",
    "effect",
    "fail",
    "fault_point",
    "given",
    "hang",
    "lose_event",
    "lose_reply",
    "now",
    "partition",
    "reorder",
    "simulate",
    "sleep",
    "start_process",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its room the first time it is asked for (PEP 562)."""
    from importlib import import_module

    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'wfsim' has no attribute {name!r}")
    module = import_module(f"wfsim.{room}")
    value = module if name == room else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, also those that no one has used yet."""
    return sorted({*globals(), *__all__})
