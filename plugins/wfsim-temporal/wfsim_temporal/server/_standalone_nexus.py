"""A Nexus operation that a client calls, without a workflow: its outcome, its description, and who may stop it.

Source of the rules: what a real server does, and its ``chasm/lib/nexusoperation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import temporalio.api.nexus.v1
from temporalio.api.failure.v1 import Failure

from wfsim_temporal.execution import Journal
from wfsim_temporal.nexus import AnyNexusOperation, End
from wfsim_temporal.server._standalone import STATUS
from wfsim_temporal.wire import SCHEDULE_TO_CLOSE, duration, timestamp

if TYPE_CHECKING:
    from wfsim_temporal.server._server import Server

_Info: Final[Any] = getattr(
    temporalio.api.nexus.v1, "NexusOperationExecutionInfo", None
)  # older releases of the SDK have none
# NexusOperationCancellationState
_SUCCEEDED: Final = 3
_FAILED: Final = 4


class StandaloneNexusOperation(AnyNexusOperation):
    """One run of an operation id.

    Attributes:
        run_id: what tells it from other runs of the id.
        status: "running", "completed", "failed", "canceled", "terminated" or "timed_out".
        closed: a future that is done when it has ended.
        result: the payload of one that has completed.
        failure: why it has not.
        stopped_by: the ids of the requests that cancelled and terminated it, by these words.
    """

    def __init__(self, server: Server, asked: Any) -> None:
        super().__init__(server, asked, None)
        self.run_id = server.new_id()
        self.status = "running"
        self.closed = server.future()
        self.result: Any = None
        self.failure: Failure | None = None
        self.stopped_by: dict[str, str] = {}
        self.began_ns = server.now_ns
        self.closed_ns = 0
        self._reason = ""
        self._cancel_state = 0
        self._links: list[Any] = []
        self._last_failure: Failure | None = None
        data = {"operation_id": asked.operation_id, "run_id": self.run_id}
        self._journal = Journal(
            server.simulation, "nexus_operation", asked.operation, asked.operation_id, data
        )

    # -- who calls

    @property
    def start_request_id(self) -> str:
        """The id of the request that started it."""
        return str(self.asked.request_id)

    @property
    def journal(self) -> Journal:
        """Its own."""
        return self._journal

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.status != "running"

    @property
    def facts(self) -> dict[str, Any]:
        """Its own id."""
        return {"operation_id": self.asked.operation_id}

    @property
    def search_attributes(self) -> Any:
        """Those that the client gave."""
        return self.asked.search_attributes

    @property
    def links(self) -> list[Any]:
        """None: no event brought it about."""
        return []

    # -- what becomes of it

    def cancel_for(self, request_id: str, reason: str) -> None:
        """Take a client's wish."""
        self.stopped_by["cancel"], self._reason = request_id, reason
        self.journal.fact("cancel", self.asked.operation)
        self.unwant()

    def terminate(self, request_id: str, reason: str) -> None:
        """End it at once; its handler is not asked."""
        self.stopped_by["terminate"] = request_id
        failure = Failure(message=reason or "Terminated")
        failure.terminated_failure_info.SetInParent()
        self._end(End("terminated", cause=failure))

    def _has_begun(self, links: list[Any]) -> None:
        self._links = links

    def _attempt_failed(self, failure: Failure) -> None:
        self._last_failure = failure

    def _cancel_requested(self) -> None:
        self._cancel_state = _SUCCEEDED

    def _cancel_refused(self, failure: Failure) -> None:  # noqa: ARG002 - only that it was is told
        self._cancel_state = _FAILED

    def _settle(self, end: End) -> None:
        self.status, self.closed_ns = end.kind, self.server.now_ns
        self.result, self.failure = end.result, end.cause
        self.journal.close(end.kind, end.cause)
        self.closed.set_result(None)

    # -- descriptions

    def listed(self) -> dict[str, Any]:
        """Describe it as lists do."""
        asked = self.asked
        return {
            "operation_id": asked.operation_id,
            "run_id": self.run_id,
            "endpoint": asked.endpoint,
            "service": asked.service,
            "operation": asked.operation,
            "status": STATUS[self.status],
            "search_attributes": self.search_attributes,
            "schedule_time": timestamp(self.began_ns),
            "close_time": timestamp(self.closed_ns) if self.is_gone else None,
            "execution_duration": duration(self.closed_ns - self.began_ns) if self.is_gone else None,
        }

    def described(self) -> Any:
        """Describe it."""
        whole_ns = self._limits_ns.get(SCHEDULE_TO_CLOSE)
        cancellation = {"state": self._cancel_state, "reason": self._reason, "attempt": self.cancel_attempt}
        told = {
            **self.listed(),
            **self.timeouts,
            "state": 0 if self.is_gone else self.state,
            "attempt": self.attempt,
            "expiration_time": None if whole_ns is None else timestamp(self.began_ns + whole_ns),
            "last_attempt_failure": self._last_failure,
            "cancellation_info": cancellation if "cancel" in self.stopped_by else None,
            "request_id": self.request_id,
            "operation_token": self.token,
            "nexus_header": self.header,
            "user_metadata": self.asked.user_metadata if self.asked.HasField("user_metadata") else None,
            "links": self._links,
            "identity": self.asked.identity,
        }
        return _Info(**{name: one for name, one in told.items() if one is not None})
