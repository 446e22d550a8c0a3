"""Policies: what wraps a step so that it bears failure.

A policy knows no flow, and no flow knows a policy by name. A policy has ``run(attempt, *, design, name)``,
where ``attempt(number, cause)`` tries the step once, and ``describe()``, its plain data for the history.
"""

from __future__ import annotations

from wfsim.resilience._retry import Retry

__all__ = ["Retry"]
