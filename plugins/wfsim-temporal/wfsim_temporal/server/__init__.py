"""The server: executions, task queues, schedules, resets, and what clients start without a workflow."""

from __future__ import annotations

from wfsim_temporal.server._reset import Reset, reset, task_id_of
from wfsim_temporal.server._schedule import Schedule
from wfsim_temporal.server._server import Server, Settings, server_here
from wfsim_temporal.server._standalone import StandaloneActivity
from wfsim_temporal.server._standalone_nexus import StandaloneNexusOperation

__all__ = [
    "Reset",
    "Schedule",
    "Server",
    "Settings",
    "StandaloneActivity",
    "StandaloneNexusOperation",
    "reset",
    "server_here",
    "task_id_of",
]
