"""Instants by cron expressions, intervals and calendars, as the server reckons them."""

from __future__ import annotations

from wfsim_temporal.timetable._cron import backoff_ns, first_backoff_ns, parse_go_duration
from wfsim_temporal.timetable._overlap import SKIP, Wanted, decide
from wfsim_temporal.timetable._schedule_spec import Jitter, NotASpec, Spec, canonical

__all__ = [
    "SKIP",
    "Jitter",
    "NotASpec",
    "Spec",
    "Wanted",
    "backoff_ns",
    "canonical",
    "decide",
    "first_backoff_ns",
    "parse_go_duration",
]
