"""Nexus operations, whoever calls: the caller's part and the handler's."""

from __future__ import annotations

from wfsim_temporal.nexus._any_operation import AnyNexusOperation, End
from wfsim_temporal.nexus._failure import Completion, operation_failure, outcome_of_run
from wfsim_temporal.nexus._task import CALLBACK_TOKEN
from wfsim_temporal.nexus._worker import NexusPoller, sdk_worker

__all__ = [
    "CALLBACK_TOKEN",
    "AnyNexusOperation",
    "Completion",
    "End",
    "NexusPoller",
    "operation_failure",
    "outcome_of_run",
    "sdk_worker",
]
