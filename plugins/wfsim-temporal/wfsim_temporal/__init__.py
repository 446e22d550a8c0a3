"""Real Temporal workflows, unmodified, in virtual time under faults, with no server.

``simulate`` runs a workflow, or a program that connects and makes workers itself, and returns a wfsim Run with
the event histories that a server would have written. ``run_programs`` runs several programs, such as worker.py and
starter.py, side by side. ``simulated_temporal`` does the same for code that runs under ``wfsim.simulate``.
``evict``, ``crash_worker``, ``backlog``, ``away`` and ``duplicate_signal`` are faults of Temporal's own; wfsim's
(``fail``, ``delay``, ``hang``, ``lose_reply``, ``crash``) strike activities by their names.

Each name is imported from its room when it is first used: every pytest session of those who have this package
imports it, and the SDK alone costs more than half a second.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wfsim_temporal.errors import (
        ActivityStuck,
        NonDeterministicWorkflow,
        NotSimulated,
        ReplayFailed,
        WorkflowTaskStuck,
    )
    from wfsim_temporal.execution import HistoryLimits, history_within_limits
    from wfsim_temporal.faults import (
        Away,
        Backlog,
        Evict,
        away,
        backlog,
        crash_worker,
        duplicate_signal,
        evict,
    )
    from wfsim_temporal.server import Settings
    from wfsim_temporal.simulation import (
        CrashPoint,
        TemporalRun,
        TemporalTarget,
        crash_points,
        run_programs,
        simulate,
        simulated_temporal,
    )
    from wfsim_temporal.worker import check_replay

_ROOMS = {
    "errors": (
        "ActivityStuck",
        "NonDeterministicWorkflow",
        "NotSimulated",
        "ReplayFailed",
        "WorkflowTaskStuck",
    ),
    "execution": ("HistoryLimits", "history_within_limits"),
    "faults": ("Away", "Backlog", "Evict", "away", "backlog", "crash_worker", "duplicate_signal", "evict"),
    "server": ("Settings",),
    "simulation": (
        "CrashPoint",
        "TemporalRun",
        "TemporalTarget",
        "crash_points",
        "run_programs",
        "simulate",
        "simulated_temporal",
    ),
    "worker": ("check_replay",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "ActivityStuck",
    "Away",
    "Backlog",
    "CrashPoint",
    "Evict",
    "HistoryLimits",
    "NonDeterministicWorkflow",
    "NotSimulated",
    "ReplayFailed",
    "Settings",
    "TemporalRun",
    "TemporalTarget",
    "WorkflowTaskStuck",
    "away",
    "backlog",
    "check_replay",
    "crash_points",
    "crash_worker",
    "duplicate_signal",
    "evict",
    "history_within_limits",
    "run_programs",
    "simulate",
    "simulated_temporal",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its room the first time it is asked for (PEP 562)."""
    from importlib import import_module

    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'wfsim_temporal' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"wfsim_temporal.{room}"), name)
    return value


def __dir__() -> list[str]:
    """List the public names, also those that no one has used yet."""
    return sorted({*globals(), *__all__})
