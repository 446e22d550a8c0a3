"""What wfsim finds under its entry-point group: a target, faults and a checker for scenario files."""

from __future__ import annotations

from typing import Any

from wfsim.hookspecs import hookimpl


@hookimpl
def wfsim_targets() -> dict[str, Any]:
    """Name the target: ``target: temporal``."""
    from wfsim_temporal.simulation import temporal

    return {"temporal": temporal}


@hookimpl
def wfsim_faults() -> dict[str, Any]:
    """Name the faults of Temporal's own: ``evict``, ``backlog``, ``away``."""
    from wfsim_temporal.faults import Away, Backlog, Evict

    return {fault.kind: fault for fault in (Evict, Backlog, Away)}


@hookimpl
def wfsim_checkers() -> dict[str, Any]:
    """Name the checkers of Temporal's own."""
    from wfsim_temporal.execution import history_within_limits

    return {"history_within_limits": history_within_limits}
