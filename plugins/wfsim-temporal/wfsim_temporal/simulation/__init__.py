"""How users run it: simulate, programs, scenario files' target."""

from __future__ import annotations

from wfsim_temporal.simulation._connect import simulated_temporal
from wfsim_temporal.simulation._crash_points import CrashPoint, crash_points
from wfsim_temporal.simulation._programs import run_programs
from wfsim_temporal.simulation._simulate import TemporalRun, simulate
from wfsim_temporal.simulation._target import TemporalTarget, temporal

__all__ = [
    "CrashPoint",
    "TemporalRun",
    "TemporalTarget",
    "crash_points",
    "run_programs",
    "simulate",
    "simulated_temporal",
    "temporal",
]
