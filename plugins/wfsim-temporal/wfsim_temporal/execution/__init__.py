"""One run of a workflow as the server knows it."""

from __future__ import annotations

from wfsim_temporal.execution._event_log import EventLog
from wfsim_temporal.execution._execution import PAUSE_INFO, Execution
from wfsim_temporal.execution._journal import Journal
from wfsim_temporal.execution._limits import HistoryLimits, configured, history_within_limits
from wfsim_temporal.execution._seed import seed_of
from wfsim_temporal.execution._updates import Update

__all__ = [
    "PAUSE_INFO",
    "EventLog",
    "Execution",
    "HistoryLimits",
    "Journal",
    "Update",
    "configured",
    "history_within_limits",
    "seed_of",
]
