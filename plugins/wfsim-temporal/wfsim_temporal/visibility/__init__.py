"""Lists of executions, and the filters that choose from them."""

from __future__ import annotations

from wfsim_temporal.visibility._visibility import (
    ACTIVITIES,
    OPERATIONS,
    count_executions,
    count_standalone,
    find_executions,
    find_schedules,
    find_standalone,
)

__all__ = [
    "ACTIVITIES",
    "OPERATIONS",
    "count_executions",
    "count_standalone",
    "find_executions",
    "find_schedules",
    "find_standalone",
]
