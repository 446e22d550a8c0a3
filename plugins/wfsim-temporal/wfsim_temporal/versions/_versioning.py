"""What binds one run of a workflow to a version of its workers: behavior, version, override, what it inherits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.api.deployment.v1 import InheritedAutoUpgradeInfo
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionVersioningInfo
from temporalio.service import RPCStatusCode

from wfsim_temporal.versions._deployments import ACTIVITY, PINNED, WORKFLOW, DeploymentVersion, Route
from wfsim_temporal.wire import rpc_error

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Server
    from wfsim_temporal.worker import Worker

UNVERSIONED: Final = 0  # VersioningBehavior
AUTO_UPGRADE: Final = 2
KEPT: Final = (
    "TemporalWorkerDeployment",
    "TemporalWorkerDeploymentVersion",
    "TemporalWorkflowVersioningBehavior",
    "TemporalUsedWorkerDeploymentVersions",
    "BuildIds",
)
"""The search attributes that the server itself keeps."""
_NAMES: Final = {PINNED: "Pinned", AUTO_UPGRADE: "AutoUpgrade"}
_USE_RAMPING: Final = 2  # ContinueAsNewVersioningBehavior
_STARTED_FIELDS: Final = set(WorkflowExecutionStartedEventAttributes.DESCRIPTOR.fields_by_name)
_INHERITED_FIELDS: Final = set(InheritedAutoUpgradeInfo.DESCRIPTOR.fields_by_name)
_INFO_FIELDS: Final = set(WorkflowExecutionVersioningInfo.DESCRIPTOR.fields_by_name)


@dataclass(frozen=True, slots=True)
class Heritage:
    """What a run has from its start request, its parent or the run before.

    ``pinned`` or ``auto`` is the version to begin on, with that behavior; ``initial`` what a continue-as-new
    asked for; ``declined`` the version that the run before could have moved to and did not.
    """

    override: Any = None
    pinned: DeploymentVersion | None = None
    auto: Route | None = None
    initial: int = 0
    declined: Route | None = None

    def attributes(self) -> dict[str, Any]:
        """Give what the run's first event says of it."""
        told: dict[str, Any] = {"versioning_override": self.override}
        if self.pinned is not None:
            told["inherited_pinned_version"] = self.pinned.message()
        if self.auto is not None and self.auto.version is not None:
            known = {
                "source_deployment_version": self.auto.version.message(),
                "source_deployment_revision_number": self.auto.revision,
                "continue_as_new_initial_versioning_behavior": self.initial,
            }
            told["inherited_auto_upgrade_info"] = _only(_INHERITED_FIELDS, known)
        if self.declined is not None:
            version = self.declined.version
            told["declined_target_version_upgrade"] = {
                "deployment_version": version and version.message(),
                "revision_number": self.declined.revision,
            }
        return _only(_STARTED_FIELDS, told)


def override_of(asked: Any) -> Any:
    """Read an override as a client sends it; None if there is none. Raises RPCError INVALID_ARGUMENT."""
    if asked.WhichOneof("override") == "one_time":
        if not asked.one_time.HasField("target_deployment_version"):
            message = "must provide target deployment version if override is one-time."
            raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, message)
        made = VersioningOverride()
        made.one_time.CopyFrom(asked.one_time)
        return made
    if asked.HasField("pinned"):
        version = asked.pinned.version
        named = {"deployment_name": version.deployment_name, "build_id": version.build_id}
        pinned: dict[str, Any] = {"behavior": 1, "version": named}
        return VersioningOverride(pinned=pinned)  # type: ignore[arg-type]
    return VersioningOverride(auto_upgrade=True) if asked.auto_upgrade else None


def pinned_version(override: Any) -> DeploymentVersion | None:
    """Give the version that an override pins to; None if it does not pin."""
    if override is None or not override.HasField("pinned"):
        return None
    version = override.pinned.version
    return DeploymentVersion(version.deployment_name, version.build_id)


def one_time_version(override: Any) -> DeploymentVersion | None:
    """Give the version that the next workflow task alone is to go to; None if an override says no such thing."""
    if override is None or override.WhichOneof("override") != "one_time":
        return None
    version = override.one_time.target_deployment_version
    return DeploymentVersion(version.deployment_name, version.build_id)


def check_override(server: Server, override: Any, queue: str) -> None:
    """Check that an override leads to what there is. Raises RPCError FAILED_PRECONDITION."""
    version = pinned_version(override) or one_time_version(override)
    if version is not None and not server.deployments.holds(version, queue, WORKFLOW):
        message = (
            f"Pinned version '{version.named()}' is not present in task queue '{queue}' of type 'Workflow'"
        )
        raise rpc_error(RPCStatusCode.FAILED_PRECONDITION, message)


class Versioning:
    """The state of one run. ``behavior`` and ``version`` are those of its last completed task, or inherited."""

    def __init__(self, execution: Execution) -> None:
        heritage = execution.start.heritage
        self._execution = execution
        self._heritage = heritage
        self.override = heritage.override
        self.behavior = UNVERSIONED
        self.version: DeploymentVersion | None = None
        self.revision = 0
        self._is_new = True
        self._target_changed = False
        self._left_ns = 0
        self._left: DeploymentVersion | None = None
        self._used: list[DeploymentVersion] = []
        self._builds: list[str] = []
        self._deployment = ""
        if heritage.pinned is not None:
            self.behavior, self.version = PINNED, heritage.pinned
        elif heritage.auto is not None:
            self.behavior, (self.version, self.revision) = AUTO_UPGRADE, heritage.auto

    # -- what counts

    @property
    def effective_behavior(self) -> int:
        """The behavior, unless an override has another."""
        if self.override is None or self._one_time is not None:
            return self.behavior
        return PINNED if self.override.HasField("pinned") else AUTO_UPGRADE

    @property
    def effective_version(self) -> DeploymentVersion | None:
        """The version, unless an override has another."""
        return pinned_version(self.override) or self.version

    @property
    def _one_time(self) -> DeploymentVersion | None:
        return one_time_version(self.override)

    @property
    def _is_pinned(self) -> bool:
        return self.effective_behavior == PINNED

    def was_pinned_to(self, version: DeploymentVersion, at_ns: int) -> bool:
        """Whether it was open and pinned to a version at an instant, or is now."""
        execution = self._execution
        if execution.is_closed and execution.closed_ns <= at_ns:
            return False
        is_now = self._is_pinned and self.effective_version == version
        return is_now or (self._left == version and self._left_ns > at_ns)

    def override_with(self, override: Any) -> None:
        """Take another override, or none."""
        before = self.effective_version if self._is_pinned else None
        self.override = override
        if before is not None and before != self.effective_version:
            self._left, self._left_ns = before, self._execution.server.now_ns

    # -- where tasks go

    def _route(self) -> Route:
        start = self._execution.start
        prefers = self._is_new and self._heritage.initial == _USE_RAMPING
        deployments = self._execution.server.deployments
        return deployments.route(start.task_queue, WORKFLOW, start.workflow_id, prefers_ramping=prefers)

    def workflow_target(self) -> DeploymentVersion | None:
        """Give the version whose workers get the workflow tasks."""
        if self._one_time is not None:
            return self._one_time
        return self.effective_version if self._is_pinned else self._route().version

    def activity_target(self, queue: str) -> DeploymentVersion | None:
        """Give the version whose workers get activities from a queue."""
        deployments, version = self._execution.server.deployments, self.effective_version
        if self._is_pinned and version is not None and deployments.holds(version, queue, ACTIVITY):
            return version
        route = deployments.route(queue, ACTIVITY, self._execution.start.workflow_id)
        is_own = queue == self._execution.start.task_queue
        return version if is_own and (route.version is None or self._has_seen(route)) else route.version

    def _has_seen(self, route: Route) -> bool:
        """Whether it went where it is when the routing was as it is now: one override may have led it elsewhere."""
        return self.version is not None and route.revision <= self.revision

    def moves_for(self, queue: str) -> bool:
        """Whether the workflow has to move to another version before an activity of its own queue can go there."""
        if self._is_pinned or self._is_new or queue != self._execution.start.task_queue:
            return False
        route = self._route()
        return route.version not in {None, self.version} and not self._has_seen(route)

    def fits(self, version: DeploymentVersion | None) -> bool:
        """Whether a worker that has the workflow in its cache may keep it.

        Those of a version keep it also when workers without one are to take over: that happens at a later replay.
        """
        if not self._execution.server.deployments.by_name:
            return True
        target = self.workflow_target()
        return target == version or (target is None and not self._is_pinned)

    # -- a workflow task

    def begin(self) -> bool:
        """Note that a task begins; tell whether a pinned workflow could move to another version."""
        self._target_changed = False
        if self._is_pinned and self.override is None:
            route, declined = self._route(), self._heritage.declined
            if route.version != self.version:
                self._target_changed = declined is None or declined.version != route.version
        return self._target_changed

    def complete(self, worker: Worker, behavior: int) -> None:
        """Note which worker has completed a task, with the behavior that the workflow's code gives."""
        routed = worker.routed_as
        if routed is None:
            self.behavior, self.version, self.revision = UNVERSIONED, None, 0
            names = ["unversioned", f"unversioned:{worker.build_id}"] if worker.build_id else []
        else:
            is_routed = not (
                self._is_pinned or self._one_time or (self._is_new and self._execution.start.is_eager)
            )
            if is_routed and routed != (None if self._is_new else self.version):
                self.revision = self._route().revision
            self.behavior, self.version = behavior or worker.default_behavior, routed
            names = [f"unversioned:{routed.build_id}"]
            if routed not in self._used:
                self._used.append(routed)
        self._is_new = False
        if self._one_time is not None:
            self.override_with(None)
        self._deployment = "" if worker.told_as is None else worker.told_as.deployment
        self._builds += [name for name in names if name not in self._builds]

    def restore(self, told: dict[str, Any]) -> None:
        """Become what the completion of a workflow task says of a version."""
        named = told.get("deployment_version")
        self._is_new = False
        self.behavior = told.get("versioning_behavior", UNVERSIONED)
        self.version = named and DeploymentVersion(named["deployment_name"], named["build_id"])

    # -- what follows

    def heritage_for(self, queue: str, *, initial: int = 0, is_next: bool = False) -> Heritage:
        """Give what a child inherits, or (``is_next``) the run that this one continues as."""
        version, override = self.effective_version, self.override
        deployments = self._execution.server.deployments
        if version is None or not deployments.holds(version, queue, WORKFLOW):
            return Heritage()
        kept = override if pinned_version(override) is not None else None
        if self._is_pinned and not initial:
            return Heritage(kept, pinned=version, declined=self._declined() if is_next else None)
        return Heritage(kept, auto=Route(version, self.revision), initial=initial)

    def _declined(self) -> Route | None:
        return self._route() if self._target_changed else self._heritage.declined

    def heritage_for_retry(self) -> Heritage:
        """Give what the next attempt inherits: its version only if this run has not begun on it by itself."""
        found = self.heritage_for(self._execution.start.task_queue, initial=self._heritage.initial)
        if found.pinned is not None and self._heritage.pinned is None:
            return Heritage(found.override)
        return found

    def heritage_for_cron(self) -> Heritage:
        """Give what the next run of a cron schedule inherits: an override that pins."""
        return Heritage(self.heritage_for(self._execution.start.task_queue).override)

    # -- what is told of it

    def search_attributes(self) -> dict[str, Any]:
        """Give the attributes that the server itself keeps of it."""
        told: dict[str, str | list[str]] = {}
        version, behavior = self.effective_version, self.effective_behavior
        builds = self._builds
        if self._deployment:
            told["TemporalWorkerDeployment"] = self._deployment
        if version is not None and behavior:
            told["TemporalWorkerDeployment"] = version.deployment
            told["TemporalWorkerDeploymentVersion"] = version.named()
            told["TemporalWorkflowVersioningBehavior"] = _NAMES[behavior]
            builds = [name for name in builds if name != "unversioned"]
            if behavior == PINNED:
                builds = [f"pinned:{version.named()}", *builds]
        if self._used:
            told["TemporalUsedWorkerDeploymentVersions"] = [one.named() for one in self._used]
        if builds:
            told["BuildIds"] = builds
        return {name: kept_payload(value) for name, value in told.items()}

    def info(self) -> Any:
        """Describe it; None for a run without a version."""
        version, override = self.effective_version, self.override
        if not self.behavior and override is None:
            return None
        told = {
            "behavior": self.behavior,
            "deployment_version": version and version.message(),
            "version": "" if version is None else version.named("."),
            "revision_number": self.revision,
            "versioning_override": override and _described(override),
            "continue_as_new_initial_versioning_behavior": self._heritage.initial,
        }
        return WorkflowExecutionVersioningInfo(**_only(_INFO_FIELDS, told))


def _described(override: Any) -> Any:
    """Give an override with the older fields too."""
    told = VersioningOverride()
    told.CopyFrom(override)
    if one_time_version(override) is not None:
        return told
    version = pinned_version(override)
    told.behavior = AUTO_UPGRADE if version is None else PINNED  # type: ignore[assignment]
    if version is not None:
        told.pinned_version = version.named(".")
    return told


def kept_payload(value: str | list[str]) -> Payload:
    """Give the value of a search attribute that the server itself keeps."""
    kind = b"Keyword" if isinstance(value, str) else b"KeywordList"
    data = json.dumps(value, separators=(",", ":")).encode()
    return Payload(metadata={"encoding": b"json/plain", "type": kind}, data=data)


def _only(known: set[str], values: dict[str, Any]) -> dict[str, Any]:
    """Keep what this release of the SDK knows, and what is there."""
    return {name: value for name, value in values.items() if name in known and value is not None}
