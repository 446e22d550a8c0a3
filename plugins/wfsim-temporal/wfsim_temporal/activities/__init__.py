"""Activities, whoever asked for them: the server's part and a worker's."""

from __future__ import annotations

from wfsim_temporal.activities._any_activity import AnyActivity, Ending, Pause, Wishes
from wfsim_temporal.activities._attempt import (
    Attempt,
    converter_for,
    encode,
    failure_of,
    not_registered,
    refusal_in,
)
from wfsim_temporal.activities._body import call_activity
from wfsim_temporal.activities._environment import Environment, new_environment
from wfsim_temporal.activities._options import (
    PATHS,
    TIMEOUTS,
    Limits,
    changed_options,
    check_policy,
    paths_of,
)
from wfsim_temporal.activities._thread import raising_in_simulation

__all__ = [
    "PATHS",
    "TIMEOUTS",
    "AnyActivity",
    "Attempt",
    "Ending",
    "Environment",
    "Limits",
    "Pause",
    "Wishes",
    "call_activity",
    "changed_options",
    "check_policy",
    "converter_for",
    "encode",
    "failure_of",
    "new_environment",
    "not_registered",
    "paths_of",
    "raising_in_simulation",
    "refusal_in",
]
