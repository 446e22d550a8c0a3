"""What wfsim finds under its entry-point group: a target and a fault for scenario files."""

from __future__ import annotations

from typing import Any

from wfsim.hookspecs import hookimpl


@hookimpl
def wfsim_targets() -> dict[str, Any]:
    """Name the target: ``target: temporal``."""
    from wfsim_temporal._target import temporal

    return {"temporal": temporal}


@hookimpl
def wfsim_faults() -> dict[str, Any]:
    """Name the fault of Temporal's own: ``evict``."""
    from wfsim_temporal._faults import Evict

    return {Evict.kind: Evict}
