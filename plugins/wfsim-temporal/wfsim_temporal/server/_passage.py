"""Where faults strike on the server's side: tasks on their way into a queue, signals on their way to a run."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wfsim.errors import InjectedFault
from wfsim.kernel import fault_point
from wfsim.nemesis import Duplicate
from wfsim_temporal.faults import BACKLOG, DELIVER, SIGNAL, TASK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal.server._server import Server


class Passage:
    """Lets through what comes, later or more often if a fault says so."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._counts: dict[str, int] = {}

    def into_queue(self, queue: str, what: str, then: Callable[..., object], *args: Any) -> None:
        """Call ``then(*args)`` when a task for ``what`` has come through a queue: a message's time later, or more."""
        if not self.is_held_up(queue, what):
            self._server.soon(then, *args)
            return
        number = self._counts[queue] = self._counts.get(queue, 0) + 1
        self._server.run(self._wait(queue, what, number, then, args))

    def is_held_up(self, queue: str, what: str) -> bool:
        """Whether a fault may hold up a task for ``what`` in a queue."""
        watch = self._server.simulation.watch
        return watch is not None and watch.at(BACKLOG, TASK_QUEUE, what, queue) is not None

    async def _wait(
        self, queue: str, what: str, number: int, then: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        with suppress(InjectedFault):  # a queue loses nothing
            await fault_point(BACKLOG, kind=TASK_QUEUE, design=what, name=queue, attempt=number)
        self._server.soon(then, *args)

    async def copies_of_signal(self, workflow: str, name: str) -> int:
        """Give how often a signal for a type of workflow is delivered. Raises InjectedFault if it is not at all."""
        fault = await fault_point(DELIVER, kind=SIGNAL, design=workflow, name=name)
        return 1 + fault.copies if isinstance(fault, Duplicate) else 1
