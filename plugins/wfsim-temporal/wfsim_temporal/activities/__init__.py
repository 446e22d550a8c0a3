"""Activities, whoever asked for them: the server's part and a worker's."""

from __future__ import annotations

from wfsim_temporal.activities._any_activity import AnyActivity, Ending
from wfsim_temporal.activities._attempt import Attempt, converter_for, encode, failure_of, not_registered
from wfsim_temporal.activities._body import call_activity
from wfsim_temporal.activities._environment import Environment, new_environment
from wfsim_temporal.activities._thread import raising_in_simulation

__all__ = [
    "AnyActivity",
    "Attempt",
    "Ending",
    "Environment",
    "call_activity",
    "converter_for",
    "encode",
    "failure_of",
    "new_environment",
    "not_registered",
    "raising_in_simulation",
]
