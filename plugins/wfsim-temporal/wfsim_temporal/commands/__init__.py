"""What a workflow can ask for, and what becomes of it in its history."""

from __future__ import annotations

from wfsim_temporal.commands._activity import Activity
from wfsim_temporal.commands._child import Child
from wfsim_temporal.commands._commands import TERMINAL, Commands, Timer, events_of
from wfsim_temporal.commands._continuation import after_failure
from wfsim_temporal.commands._external import Cancel, Signal
from wfsim_temporal.commands._id_policy import TERMINATE_EXISTING, TERMINATE_IF_RUNNING, USE_EXISTING, refusal
from wfsim_temporal.commands._nexus_operation import ABANDON, MOST_OPEN, TRY_CANCEL, NexusOperation
from wfsim_temporal.commands._pending import pending_info, told_options
from wfsim_temporal.commands._search_attributes import merged, typed
from wfsim_temporal.commands._start import Start, own_links, start_of

__all__ = [
    "ABANDON",
    "MOST_OPEN",
    "TERMINAL",
    "TERMINATE_EXISTING",
    "TERMINATE_IF_RUNNING",
    "TRY_CANCEL",
    "USE_EXISTING",
    "Activity",
    "Cancel",
    "Child",
    "Commands",
    "NexusOperation",
    "Signal",
    "Start",
    "Timer",
    "after_failure",
    "events_of",
    "merged",
    "own_links",
    "pending_info",
    "refusal",
    "start_of",
    "told_options",
    "typed",
]
