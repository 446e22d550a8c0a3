"""A task queue: tasks wait in it until a worker polls that has room for them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.versions import ACTIVITY, NEXUS, WORKFLOW

if TYPE_CHECKING:
    from wfsim_temporal.nexus import NexusPoller
    from wfsim_temporal.server._server import Server
    from wfsim_temporal.versions import DeploymentVersion
    from wfsim_temporal.worker import Session


class QueuedTask(Protocol):
    """A workflow task or an attempt of an activity that waits for a worker."""

    is_workflow_task: bool

    @property
    def name(self) -> str:
        """The type of activity or workflow that it is for."""

    @property
    def is_wanted(self) -> bool:
        """Whether it is still to be done; a task that timed out meanwhile is not."""

    def hand_to(self, session: Any) -> None:
        """Begin it on a worker."""


class TaskQueue:
    """Tasks of one name; workers take turns. A task for a version waits for the workers of that version."""

    def __init__(self, name: str, server: Server, *, is_nexus: bool = False) -> None:
        self.name = name
        self._server = server
        self._is_nexus = is_nexus
        self._sessions: deque[Any] = deque()
        self._backlog: deque[Any] = deque()
        self._arrival: asyncio.Future[None] | None = None

    def offer(self, task: QueuedTask) -> None:
        """Add a task: it reaches a worker a message's time later, or when one has room."""
        if self._server.deployments.by_name:
            self._server.deployments.use(self.name, self._kind(task))
        self._server.passage.into_queue(self.name, task.name, self._arrive, task)

    def poll(self, session: Session | NexusPoller) -> None:
        """Add a worker's session to those that take tasks."""
        self._sessions.append(session)
        if self._arrival is not None:
            self._arrival.set_result(None)
            self._arrival = None
        self.serve()

    def leave(self, session: Session | NexusPoller) -> None:
        """Take a session away."""
        if session in self._sessions:
            self._sessions.remove(session)

    def serve(self) -> None:
        """Give waiting tasks to workers that have room for them now."""
        for _ in range(len(self._backlog)):
            self._arrive(self._backlog.popleft())

    def _arrive(self, task: QueuedTask) -> None:
        if not task.is_wanted:
            return
        session = None if self._must_wait(task) else self._taker(task)
        if session is None:
            self._backlog.append(task)
        else:
            task.hand_to(session)

    def _kind(self, task: QueuedTask) -> int:
        if self._is_nexus:
            return NEXUS
        return WORKFLOW if task.is_workflow_task else ACTIVITY

    def _must_wait(self, task: QueuedTask) -> bool:
        """Whether an activity waits until its workflow has moved to the version that is to do it."""
        execution = getattr(task, "execution", None)
        if task.is_workflow_task or execution is None or not self._server.deployments.by_name:
            return False
        waits: bool = execution.versioning.moves_for(self.name)
        if waits:
            execution.task.move()
        return waits

    def _version_for(self, task: QueuedTask) -> DeploymentVersion | None:
        deployments = self._server.deployments
        if not deployments.by_name:
            return None
        execution = getattr(task, "execution", None)  # what no workflow asked for goes where the queue says
        if execution is None:
            return deployments.route(self.name, self._kind(task), "").version
        versioning = execution.versioning
        found: DeploymentVersion | None = (
            versioning.workflow_target() if task.is_workflow_task else versioning.activity_target(self.name)
        )
        return found

    def _taker(self, task: QueuedTask) -> Any:
        version = self._version_for(task)
        for _ in range(len(self._sessions)):
            session = self._sessions[0]
            if not session.is_alive:
                self._sessions.popleft()
                continue
            self._sessions.rotate(-1)
            if session.version == version and session.takes(is_workflow_task=task.is_workflow_task):
                return session
        return None

    def has_worker(self, *, is_workflow_task: bool) -> bool:
        """Whether somebody polls who does this kind of task, be there room now or not."""
        kind = "runs_workflows" if is_workflow_task else "runs_activities"
        return any(getattr(one.worker, kind) for one in self._sessions)

    def eager_taker(self) -> Any:
        """Give a session that can take a workflow task at once, without having polled for it; of whichever version."""
        for session in self._able():
            if session.slots.workflow.has_eager:
                return session
        return None

    async def session(self, version: DeploymentVersion | None, patience_s: float) -> Session | None:
        """Give a session whose worker, of this version, can run workflows, to answer a query; that takes no slot.

        None if there is none, nor comes one, for that long.
        """
        end_ns = self._server.now_ns + round(patience_s * NS_PER_SECOND)
        while True:
            found = next((one for one in self._able() if one.version == version), None)
            left_ns = end_ns - self._server.now_ns
            if found is not None or left_ns <= 0:
                return found
            arrival = self._arrival = self._arrival or self._server.future()
            await asyncio.wait([arrival], timeout=left_ns / NS_PER_SECOND)

    def _able(self) -> list[Any]:
        return [one for one in self._sessions if one.is_alive and one.worker.runs_workflows]
