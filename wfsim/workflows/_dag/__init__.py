"""The DAG, pattern 1: what stands in the files of this sub-package is the room's own business."""

from __future__ import annotations

from wfsim.workflows._dag._agent import Agent
from wfsim.workflows._dag._makespan import Makespan
from wfsim.workflows._dag._result import DAGResult
from wfsim.workflows._dag._rules import TRIGGER_RULES, TriggerRule
from wfsim.workflows._dag._schedule import Schedule
from wfsim.workflows._dag._task import Task
from wfsim.workflows._dag._workflow import DAGWorkflow

__all__ = [
    "TRIGGER_RULES",
    "Agent",
    "DAGResult",
    "DAGWorkflow",
    "Makespan",
    "Schedule",
    "Task",
    "TriggerRule",
]
