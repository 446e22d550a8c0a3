"""Worker deployments: their versions, and which version of a task queue's workers gets a task.

Source of the rules: Temporal's documentation of worker versioning and the server's ``worker_versioning.go``; what a
real server did in the cases of the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.versions._fingerprint import fingerprint32

if TYPE_CHECKING:
    from wfsim_temporal.server import Server

# TaskQueueType
WORKFLOW: Final = 1
ACTIVITY: Final = 2
NEXUS: Final = 3

PINNED: Final = 1  # VersioningBehavior
CHECK_EVERY_NS: Final = 180 * NS_PER_SECOND
"""How long after it was taken out of use, and how often, the server looks whether a version is drained."""
POLLERS_FOR_NS: Final = 300 * NS_PER_SECOND
"""How long a poller counts as active after it was seen last."""
ACTIVE_FOR_NS: Final = 60 * NS_PER_SECOND
"""How long a task queue counts as active after a task was added to it."""


class DeploymentVersion(NamedTuple):
    """One version of a deployment's workers; the name is empty if a worker tells its build id and no more."""

    deployment: str
    build_id: str

    def named(self, delimiter: str = ":") -> str:
        """Give it in one word, as in search attributes; older fields have a dot for the colon."""
        return f"{self.deployment}{delimiter}{self.build_id}"

    def message(self) -> dict[str, Any]:
        """Give it as a message."""
        return {"deployment_name": self.deployment, "build_id": self.build_id}


class Route(NamedTuple):
    """Where a task goes: to a version (None: to workers without one), as decided by a revision of the routing."""

    version: DeploymentVersion | None
    revision: int


class VersionState:
    """What the server knows of a version. Instants in nanoseconds since 1970, 0 where there is none."""

    def __init__(self, version: DeploymentVersion, now_ns: int) -> None:
        self.version = version
        self.queues: list[tuple[str, int]] = []
        self.metadata: dict[str, Any] = {}
        self.modifier = ""
        self.created_ns = now_ns
        self.current_since_ns = self.ramping_since_ns = self.changed_ns = 0
        self.first_used_ns = self.last_current_ns = self.last_used_ns = 0

    @property
    def is_in_use(self) -> bool:
        """Whether it is current or ramping."""
        return bool(self.current_since_ns or self.ramping_since_ns)

    def is_drained(self, server: Server) -> bool:
        """Whether the server, which looks now and then, has seen that no open workflow is pinned to it any more."""
        looked_ns = self.looked_ns(server.now_ns)
        return looked_ns > self.last_used_ns and not any(
            one.versioning.was_pinned_to(self.version, looked_ns) for one in server.executions.values()
        )

    def has_pollers(self, server: Server) -> bool:
        """Whether workers of it poll, or have until a short time ago."""
        sessions = [one.session for one in server.workers if one.routed_as == self.version]
        return any(one is not None and one.has_polled_within(POLLERS_FOR_NS) for one in sessions)

    def looked_ns(self, now_ns: int) -> int:
        """Give when the server last looked whether it is drained."""
        return now_ns - (now_ns - self.last_used_ns) % CHECK_EVERY_NS

    def use(self, now_ns: int, *, current: bool, ramping: bool) -> None:
        """Note whether it is current or ramping from now on."""
        was_in_use = self.is_in_use
        before = (bool(self.current_since_ns), bool(self.ramping_since_ns))
        self.current_since_ns = (self.current_since_ns or now_ns) if current else 0
        self.ramping_since_ns = (self.ramping_since_ns or now_ns) if ramping else 0
        if (current, ramping) != before:
            self.changed_ns = now_ns
        if current:
            self.last_current_ns = self.current_since_ns
        if self.is_in_use:
            self.first_used_ns = self.first_used_ns or now_ns
            self.last_used_ns = 0
        elif was_in_use:
            self.last_used_ns = now_ns


class Deployment:
    """A deployment and its routing. ``current`` is a build id, "" for workers without a version.

    ``ramping`` is as well, or None if nothing is ramped up.
    """

    def __init__(self, name: str, now_ns: int) -> None:
        self.name = name
        self.created_ns = now_ns
        self.versions: dict[str, VersionState] = {}
        self.current = ""
        self.ramping: str | None = None
        self.percentage = 0.0
        self.revision = 0
        self.current_changed_ns = self.ramping_changed_ns = self.percentage_changed_ns = 0
        self.modifier = self.manager = ""
        self.managers = 0

    @property
    def token(self) -> bytes:
        """What a client shows to change only what it has seen."""
        return self.revision.to_bytes(8, "big") + self.managers.to_bytes(4, "big")

    def set_manager(self, identity: str) -> None:
        """Let nobody else change it; the empty name lets everybody."""
        if identity != self.manager:
            self.manager = identity
            self.managers += 1

    def version(self, build_id: str, now_ns: int) -> VersionState:
        """Give the version of a build id; it is made if there is none."""
        found = self.versions.get(build_id)
        if found is None:
            found = self.versions[build_id] = VersionState(DeploymentVersion(self.name, build_id), now_ns)
        return found

    def set_current(self, build_id: str, now_ns: int) -> None:
        """Let new workflows, and those that move, go to a version."""
        if build_id != self.current or not self.current_changed_ns:
            self.current, self.current_changed_ns = build_id, now_ns
            if self.ramping == build_id:
                self._ramp(None, 0.0, now_ns)
            self._changed(now_ns)

    def set_ramping(self, build_id: str | None, percentage: float, now_ns: int) -> None:
        """Let a part of the workflows go to a version; None ends that."""
        if (build_id, percentage) != (self.ramping, self.percentage):
            self._ramp(build_id, percentage, now_ns)
            self._changed(now_ns)

    def _ramp(self, build_id: str | None, percentage: float, now_ns: int) -> None:
        if build_id != self.ramping:
            self.ramping_changed_ns = now_ns
        self.ramping, self.percentage, self.percentage_changed_ns = build_id, percentage, now_ns

    def _changed(self, now_ns: int) -> None:
        self.revision += 1
        for build_id, state in self.versions.items():
            state.use(now_ns, current=build_id == self.current, ramping=build_id == self.ramping)

    def holds(self, build_id: str | None, queue: tuple[str, int]) -> bool:
        """Whether workers of a build id have polled a task queue."""
        state = None if build_id is None else self.versions.get(build_id)
        return state is not None and queue in state.queues

    def knows(self, queue: tuple[str, int]) -> bool:
        """Whether workers of any of its versions have polled a task queue."""
        return any(queue in state.queues for state in self.versions.values())


class Deployments:
    """All deployments of a server, by their names; polls of workers that have a version make them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.by_name: dict[str, Deployment] = {}
        self._used_ns: dict[tuple[str, int], int] = {}

    def poll(self, version: DeploymentVersion, queue: str, kinds: list[int]) -> None:
        """Note that a worker of a version polls a task queue."""
        now_ns = self._server.now_ns
        state = self.get_or_make(version.deployment).version(version.build_id, now_ns)
        for kind in kinds:
            if (queue, kind) not in state.queues:
                state.queues.append((queue, kind))

    def get_or_make(self, name: str) -> Deployment:
        """Give the deployment of a name; it is made if there is none."""
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = Deployment(name, self._server.now_ns)
        return found

    def holds(self, version: DeploymentVersion, queue: str, kind: int) -> bool:
        """Whether workers of a version have polled a task queue."""
        deployment = self.by_name.get(version.deployment)
        return deployment is not None and deployment.holds(version.build_id, (queue, kind))

    def use(self, queue: str, kind: int) -> None:
        """Note that a task is added to a queue."""
        self._used_ns[queue, kind] = self._server.now_ns

    def missing(self, deployment: Deployment, build_id: str) -> bool:
        """Whether a version lacks a task queue of the current one that had tasks of late."""
        current = deployment.versions.get(deployment.current)
        active_ns = self._server.now_ns - ACTIVE_FOR_NS
        return current is not None and any(
            self._used_ns.get(queue, 0) > active_ns and not deployment.holds(build_id, queue)
            for queue in current.queues
        )

    def route(self, queue: str, kind: int, workflow_id: str, *, prefers_ramping: bool = False) -> Route:
        """Say where a task of a queue goes that no workflow's own version decides."""
        key = (queue, kind)
        known = [one for one in self.by_name.values() if one.knows(key)]
        current = Route(None, max((one.revision for one in known), default=0))
        latest_ns = -1
        for one in known:
            if one.holds(one.current, key) and one.current_changed_ns > latest_ns:
                latest_ns = one.current_changed_ns
                current = Route(DeploymentVersion(one.name, one.current), one.revision)
        ramps = [one for one in known if one.ramping is not None]
        ramps = [one for one in ramps if not one.ramping or one.holds(one.ramping, key)]
        if not ramps:
            return current
        ramp = max(ramps, key=lambda one: one.percentage_changed_ns)
        if not (prefers_ramping or is_ramped(workflow_id, ramp.percentage)):
            return current
        version = DeploymentVersion(ramp.name, ramp.ramping) if ramp.ramping else None
        return Route(version, ramp.revision)


def is_ramped(workflow_id: str, percentage: float) -> bool:
    """Whether a workflow is among those that go to a version with this share of them."""
    if not 0 < percentage < 100:  # noqa: PLR2004 - percent
        return percentage > 0
    share = fingerprint32(workflow_id.encode()) / 2**32 if workflow_id else 0.0
    return 100 * share <= percentage
