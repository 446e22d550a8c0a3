"""Real Temporal workflows, unmodified, in virtual time under faults, with no server.

``simulate`` runs a workflow, or a program that connects and makes workers itself, and returns a wfsim Run with
the event histories that a server would have written. ``run_programs`` runs several programs, such as worker.py and
starter.py, side by side. ``simulated_temporal`` does the same for code that runs under ``wfsim.simulate``.
``evict`` and ``crash_worker`` are faults of Temporal's own; wfsim's (``fail``, ``delay``, ``hang``,
``lose_reply``, ``crash``) strike activities by their names.
"""

from __future__ import annotations

from wfsim_temporal._connect import simulated_temporal
from wfsim_temporal._crash_points import CrashPoint, crash_points
from wfsim_temporal._faults import Evict, crash_worker, evict
from wfsim_temporal._programs import run_programs
from wfsim_temporal._replay import check_replay
from wfsim_temporal._server import Settings
from wfsim_temporal._simulate import TemporalRun, simulate
from wfsim_temporal._target import TemporalTarget
from wfsim_temporal.errors import (
    NonDeterministicWorkflow,
    NotSimulated,
    ReplayFailed,
    WorkflowTaskStuck,
)

__all__ = [
    "CrashPoint",
    "Evict",
    "NonDeterministicWorkflow",
    "NotSimulated",
    "ReplayFailed",
    "Settings",
    "TemporalRun",
    "TemporalTarget",
    "WorkflowTaskStuck",
    "check_replay",
    "crash_points",
    "crash_worker",
    "evict",
    "run_programs",
    "simulate",
    "simulated_temporal",
]
