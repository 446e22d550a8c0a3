"""Real Temporal workflows, unmodified, in virtual time under faults, with no server.

``simulate`` runs a workflow, or a program that connects and makes workers itself, and returns a wfsim Run with
the event histories that a server would have written. ``run_programs`` runs several programs, such as worker.py and
starter.py, side by side. ``simulated_temporal`` does the same for code that runs under ``wfsim.simulate``.
``evict``, ``crash_worker``, ``backlog``, ``away`` and ``duplicate_signal`` are faults of Temporal's own; wfsim's
(``fail``, ``delay``, ``hang``, ``lose_reply``, ``crash``) strike activities by their names.
"""

from __future__ import annotations

from wfsim_temporal._connect import simulated_temporal
from wfsim_temporal._crash_points import CrashPoint, crash_points
from wfsim_temporal._faults import Away, Backlog, Evict, away, backlog, crash_worker, duplicate_signal, evict
from wfsim_temporal._limits import HistoryLimits, history_within_limits
from wfsim_temporal._programs import run_programs
from wfsim_temporal._replay import check_replay
from wfsim_temporal._server import Settings
from wfsim_temporal._simulate import TemporalRun, simulate
from wfsim_temporal._target import TemporalTarget
from wfsim_temporal.errors import (
    ActivityStuck,
    NonDeterministicWorkflow,
    NotSimulated,
    ReplayFailed,
    WorkflowTaskStuck,
)

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
