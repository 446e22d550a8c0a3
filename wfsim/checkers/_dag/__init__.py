"""Checkers of DAGs."""

from __future__ import annotations

from wfsim.checkers._dag._ends import every_task_decided, failures_surface, no_task_repeated, torn_down
from wfsim.checkers._dag._graph import find_cycle, no_cycle
from wfsim.checkers._dag._parallel import parallelism_respected
from wfsim.checkers._dag._priority import priority_respected
from wfsim.checkers._dag._rules import dependencies_respected, skipped_as_ruled
from wfsim.checkers._dag._view import task_of

__all__ = [
    "dependencies_respected",
    "every_task_decided",
    "failures_surface",
    "find_cycle",
    "no_cycle",
    "no_task_repeated",
    "parallelism_respected",
    "priority_respected",
    "skipped_as_ruled",
    "task_of",
    "torn_down",
]
