"""A task queue: tasks wait in it until a worker polls that has room for them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wfsim_temporal._nexus_worker import NexusPoller
    from wfsim_temporal._server import Server
    from wfsim_temporal._session import Session


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
    """Tasks of one name; workers take turns."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._server = server
        self._sessions: deque[Any] = deque()
        self._backlog: deque[Any] = deque()

    def offer(self, task: QueuedTask) -> None:
        """Add a task: it reaches a worker a message's time later, or when one has room."""
        self._server.passage.into_queue(self.name, task.name, self._arrive, task)

    def poll(self, session: Session | NexusPoller) -> None:
        """Add a worker's session to those that take tasks."""
        self._sessions.append(session)
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
        session = self._taker(is_workflow_task=task.is_workflow_task)
        if session is None:
            self._backlog.append(task)
        else:
            task.hand_to(session)

    def _taker(self, *, is_workflow_task: bool) -> Any:
        for _ in range(len(self._sessions)):
            session = self._sessions[0]
            if not session.is_alive:
                self._sessions.popleft()
                continue
            self._sessions.rotate(-1)
            if session.takes(is_workflow_task=is_workflow_task):
                return session
        return None

    def eager_taker(self) -> Any:
        """Give a session that can take a workflow task at once, without having polled for it."""
        for session in self._sessions:
            if session.is_alive and session.worker.runs_workflows and session.slots.workflow.has_eager:
                return session
        return None

    def session(self) -> Session | None:
        """Give a session whose worker can run workflows, to answer a query; that takes no slot."""
        return next((one for one in self._sessions if one.is_alive and one.worker.runs_workflows), None)
