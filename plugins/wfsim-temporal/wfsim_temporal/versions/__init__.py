"""Worker deployments and the versions of workflows."""

from __future__ import annotations

from wfsim_temporal.versions._deployments import (
    ACTIVITY,
    NEXUS,
    WORKFLOW,
    Deployment,
    Deployments,
    DeploymentVersion,
    VersionState,
)
from wfsim_temporal.versions._versioning import (
    KEPT,
    Heritage,
    Versioning,
    check_override,
    kept_payload,
    override_of,
)

__all__ = [
    "ACTIVITY",
    "KEPT",
    "NEXUS",
    "WORKFLOW",
    "Deployment",
    "DeploymentVersion",
    "Deployments",
    "Heritage",
    "VersionState",
    "Versioning",
    "check_override",
    "kept_payload",
    "override_of",
]
