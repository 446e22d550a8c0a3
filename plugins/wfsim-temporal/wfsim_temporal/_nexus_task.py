"""A request to a Nexus handler, to start or to cancel an operation; it is a task in a queue until a worker has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.nexus.v1 import Request
from temporalio.api.workflowservice.v1 import PollNexusTaskQueueResponse
from temporalio.bridge.proto.nexus import NexusTask as BridgeTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal._nexus_operation import NexusOperation
    from wfsim_temporal._nexus_worker import NexusPoller

CALLBACK_URL: Final = "temporal://system"
CALLBACK_TOKEN: Final = "nexus-callback-token"  # noqa: S105 - the name of a header
_KNOWN: Final = set(BridgeTask.DESCRIPTOR.fields_by_name)


class NexusTask:
    """One request. ``then`` is called with the handler's answer, once; ``attempt`` counts the requests of its kind."""

    is_workflow_task = False

    def __init__(
        self,
        operation: NexusOperation,
        request: Any,
        attempt: int,
        deadline_ns: int,
        then: Callable[[Any], None],
    ) -> None:
        self.operation = operation
        self.request = request
        self.attempt = attempt
        self.token = operation.execution.server.new_id().encode()
        self.is_wanted = True
        self._deadline_ns = deadline_ns
        self._then = then

    @property
    def name(self) -> str:
        """The service and the operation that it is for."""
        return f"{self.operation.asked.service}/{self.operation.asked.operation}"

    def hand_to(self, poller: NexusPoller) -> None:
        """Begin it on a worker."""
        self.is_wanted = False
        poller.begin(self)

    def answer(self, completion: Any) -> None:
        """Take the handler's answer."""
        self._then(completion)

    def message(self) -> Any:
        """Give it as Core hands it to the SDK's worker."""
        endpoint = self.operation.asked.endpoint
        request = Request(endpoint=endpoint, **self.request)
        request.header.update(self.operation.asked.nexus_header)
        made: dict[str, Any] = {
            "task": PollNexusTaskQueueResponse(task_token=self.token, request=request),
            "endpoint": endpoint,
        }
        message = BridgeTask(**{name: one for name, one in made.items() if name in _KNOWN})
        message.request_deadline.FromNanoseconds(self._deadline_ns)
        return message
