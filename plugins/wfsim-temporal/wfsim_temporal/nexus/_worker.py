"""The part of a worker that answers Nexus requests: the SDK's own, on a Core that is simulated."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final

import temporalio.common
from temporalio.bridge.proto.nexus import NexusTaskCompletion
from temporalio.bridge.worker import PollShutdownError  # type: ignore[attr-defined]
from temporalio.worker._nexus import _NexusWorker

from wfsim.errors import ReplyLost
from wfsim.kernel import perform
from wfsim_temporal.nexus._task import cancellation_of

if TYPE_CHECKING:
    from wfsim_temporal.nexus._task import NexusTask
    from wfsim_temporal.worker import Session, Worker

_PARAMETERS: Final = set(inspect.signature(_NexusWorker.__init__).parameters)
# In some releases of the SDK it is told the limits of payloads.
_NO_LIMITS: Final = (None,) * (len(inspect.signature(_NexusWorker.run).parameters) - 1)


class HandlerFailed(Exception):
    """A handler has failed. ``args[0]`` is what it answers."""


class NexusPoller:
    """Takes Nexus tasks for one life of a worker, and stands for Core to the SDK's part of it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tasks: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: dict[bytes, asyncio.Future[Any]] = {}
        self._begun: set[bytes] = set()
        self._worker = sdk_worker(session.worker, self)
        self._running = session.spawn(self._worker.run(*_NO_LIMITS))

    # -- to the task queue

    @property
    def is_alive(self) -> bool:
        """Whether it takes tasks."""
        return self._session.is_alive

    @property
    def version(self) -> Any:
        """The version of the worker, if it has one."""
        return self._session.version

    def takes(self, *, is_workflow_task: bool) -> bool:  # noqa: ARG002 - there is one kind of task here
        """Whether it has room."""
        return bool(self._session.slots.nexus.has_room)

    def begin(self, task: NexusTask) -> None:
        """Do a task."""
        self._answers[task.token] = self._session.server.future()
        held = self._session.slots.nexus.take(task.operation.asked.service, task.operation.asked.operation)
        self._session.spawn(self._do(task, held))

    def cancel(self, task: NexusTask) -> None:
        """Tell the handler that nobody waits for it any more."""
        if task.token in self._begun:
            self._tasks.put_nowait(cancellation_of(task.token))

    async def _do(self, task: NexusTask, held: Any) -> None:
        operation = task.operation
        try:
            completion = await perform(
                "nexus",
                operation.asked.service,
                operation.asked.operation,
                self._ask,
                task,
                attempt=task.attempt,
                cause=operation.journal.index,
                data=operation.facts,
            )
        except ReplyLost:
            return  # the server waits until the request times out
        except HandlerFailed as error:
            completion = error.args[0]
        except Exception as error:  # noqa: BLE001 - an injected error is a handler's that may be tried again
            completion = NexusTaskCompletion(task_token=task.token)
            completion.failure.message = f"{type(error).__name__}: {error}"
            completion.failure.nexus_handler_failure_info.type = "INTERNAL"
        finally:
            self._answers.pop(task.token, None)
            self._begun.discard(task.token)
            self._session.slots.nexus.give_back(held)
        self._session.server.soon(task.answer, completion)

    async def _ask(self, task: NexusTask) -> Any:
        self._begun.add(task.token)
        self._tasks.put_nowait(task.message())
        completion = await self._answers[task.token]
        if not completion.HasField("completed"):
            raise HandlerFailed(completion)
        return completion

    # -- to the SDK's worker

    async def poll_nexus_task(self) -> Any:
        """Give the next task. Raises PollShutdownError when there will be none."""
        task = await self._tasks.get()
        if task is None:
            raise PollShutdownError
        return task

    async def complete_nexus_task(self, completion: Any) -> None:
        """Take an answer."""
        answer = self._answers.get(completion.task_token)
        if answer is not None and not answer.done():
            answer.set_result(completion)

    async def stop(self) -> None:
        """Take no more tasks, and wait for those under way."""
        self._worker.notify_shutdown()
        self._tasks.put_nowait(None)
        await self._running
        await self._worker.wait_all_completed()


def sdk_worker(worker: Worker, poller: NexusPoller | None = None) -> Any:
    """Make the SDK's part of a worker. Raises what that raises for handlers that are none."""
    config = worker.config()
    known: dict[str, Any] = {
        "bridge_worker": lambda: poller,
        "client": worker.client,
        "namespace": worker.server.namespace,
        "task_queue": worker.task_queue,
        "service_handlers": list(config["nexus_service_handlers"]),
        "data_converter": worker.data_converter,
        "interceptors": worker.interceptors,
        "metric_meter": temporalio.common.MetricMeter.noop,
        "executor": config.get("nexus_task_executor"),
    }
    return _NexusWorker(**{name: one for name, one in known.items() if name in _PARAMETERS})
