"""A request to a Nexus handler, to start or to cancel an operation; it is a task in a queue until a worker has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.nexus.v1 import Request
from temporalio.api.workflowservice.v1 import PollNexusTaskQueueResponse
from temporalio.bridge.proto.nexus import CancelNexusTask
from temporalio.bridge.proto.nexus import NexusTask as BridgeTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal.nexus._any_operation import AnyNexusOperation
    from wfsim_temporal.nexus._worker import NexusPoller

CALLBACK_URL: Final = "temporal://system"
CALLBACK_TOKEN: Final = "nexus-callback-token"  # noqa: S105 - the name of a header
_TIMED_OUT: Final = 0  # NexusTaskCancelReason
_NS_PER_MS: Final = 1_000_000
_KNOWN: Final = set(BridgeTask.DESCRIPTOR.fields_by_name)


class NexusTask:
    """One request. ``then`` is called with the handler's answer, once; ``attempt`` counts the requests of its kind.

    An answer is waited for until ``deadline_ns``.
    """

    is_workflow_task = False

    def __init__(
        self,
        operation: AnyNexusOperation,
        request: Any,
        attempt: int,
        then: Callable[[Any], None],
    ) -> None:
        self.operation = operation
        self.request = request
        self.attempt = attempt
        self.token = operation.server.new_id().encode()
        self.is_wanted = True
        self.deadline_ns = 0
        self._then = then
        self._poller: NexusPoller | None = None

    @property
    def name(self) -> str:
        """The service and the operation that it is for."""
        return f"{self.operation.asked.service}/{self.operation.asked.operation}"

    def hand_to(self, poller: NexusPoller) -> None:
        """Begin it on a worker."""
        self.is_wanted = False
        self._poller = poller
        poller.begin(self)

    def expire(self) -> None:
        """Nobody waits for an answer any more: a worker that has it is told to stop."""
        self.is_wanted = False
        if self._poller is not None and self._poller.is_alive:
            self._poller.cancel(self)

    def answer(self, completion: Any) -> None:
        """Take the handler's answer."""
        self._then(completion)

    def message(self) -> Any:
        """Give it as Core hands it to the SDK's worker."""
        endpoint = self.operation.asked.endpoint
        request = Request(endpoint=endpoint, **self.request)
        request.header.update(self._header())
        made: dict[str, Any] = {
            "task": PollNexusTaskQueueResponse(task_token=self.token, request=request),
            "endpoint": endpoint,
        }
        message = BridgeTask(**{name: one for name, one in made.items() if name in _KNOWN})
        message.request_deadline.FromNanoseconds(self.deadline_ns)
        return message

    def _header(self) -> dict[str, str]:
        operation = self.operation
        left_ns = self.deadline_ns - operation.server.now_ns
        told = {"request-timeout": f"{left_ns // _NS_PER_MS}ms"}
        if "start_operation" in self.request:
            told["nexus-request-id"] = operation.request_id
            run_ns = operation.time_for_run_ns()
            if run_ns is not None:
                told["operation-timeout"] = f"{run_ns // _NS_PER_MS}ms"
        return {**told, **operation.header}


def cancellation_of(token: bytes) -> Any:
    """Give the message by which Core tells a worker that the time for a request is over."""
    return BridgeTask(cancel_task=CancelNexusTask(task_token=token, reason=_TIMED_OUT))  # type: ignore[arg-type]
