"""Signals and cancellations that a workflow sends to another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import InjectedFault
from wfsim_temporal.wire import job_of

if TYPE_CHECKING:
    from wfsim_temporal.execution import Execution

_NOT_FOUND: Final = 1  # ...FailedCause of both events


class Signal:
    """A signal on its way from one workflow to another, which may be a child."""

    def __init__(self, sender: Execution, asked: Any) -> None:
        self._sender = sender
        self._asked = asked
        self._is_child = asked.WhichOneof("target") == "child_workflow_id"
        self._workflow_id = (
            asked.child_workflow_id if self._is_child else asked.workflow_execution.workflow_id
        )
        self._run_id = "" if self._is_child else asked.workflow_execution.run_id

    def initiated_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that initiates it."""
        return {
            "namespace": self._sender.server.namespace,
            "workflow_execution": {"workflow_id": self._workflow_id, "run_id": self._run_id},
            "signal_name": self._asked.signal_name,
            "input": {"payloads": self._asked.args},
            "header": {"fields": self._asked.headers},
            "child_workflow_only": self._is_child,
        }

    def arrive(self, initiated_id: int) -> None:
        """Deliver it, and tell the sender."""
        server = self._sender.server
        target = server.open_execution(self._workflow_id, self._run_id)
        if target is None or server.simulation.watch is None:
            self._deliver(initiated_id, 1)
        else:
            server.run(self._deliver_under_faults(initiated_id, target.start.workflow_type))

    async def _deliver_under_faults(self, initiated_id: int, workflow_type: str) -> None:
        try:
            copies = await self._sender.server.passage.copies_of_signal(
                workflow_type, self._asked.signal_name
            )
        except InjectedFault:
            copies = 1  # the server that sends it tries again
        self._deliver(initiated_id, copies)

    def _deliver(self, initiated_id: int, copies: int) -> None:
        server = self._sender.server
        target = server.open_execution(self._workflow_id, self._run_id)
        if self._is_child and not self._sender.children.reaches(self._workflow_id):
            target = None
        for _ in range(copies):
            if target is None:
                break
            server.signal(target, self._asked.signal_name, self._asked.args, dict(self._asked.headers))
        told = {"seq": self._asked.seq}
        kind, cause = "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", {}
        if target is None:
            kind, cause = "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED", {"cause": _NOT_FOUND}
            told["failure"] = _not_found("Unable to signal external workflow because it was not found")
        attributes = {
            "initiated_event_id": initiated_id,
            "namespace": server.namespace,
            "workflow_execution": {"workflow_id": self._workflow_id, "run_id": self._run_id},
            **cause,
        }
        self._sender.receive(kind, attributes, job_of(resolve_signal_external_workflow=told))


class Cancel:
    """A request to cancel on its way from one workflow to another."""

    def __init__(self, sender: Execution, asked: Any) -> None:
        self._sender = sender
        self._asked = asked
        self._target = asked.workflow_execution

    def initiated_attributes(self) -> dict[str, Any]:
        """Give the attributes of the event that initiates it."""
        return {
            "namespace": self._sender.server.namespace,
            "workflow_execution": {"workflow_id": self._target.workflow_id, "run_id": self._target.run_id},
            "reason": self._asked.reason,
        }

    def arrive(self, initiated_id: int) -> None:
        """Deliver it, and tell the sender."""
        server = self._sender.server
        target = server.find(self._target.workflow_id, self._target.run_id)  # it may have ended
        told = {"seq": self._asked.seq}
        kind, cause = "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED", {}
        if target is None:
            kind, cause = "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED", {"cause": _NOT_FOUND}
            told["failure"] = _not_found("Unable to cancel external workflow because not found")
        else:
            server.request_cancel(target, self._asked.reason)
        attributes = {**self.initiated_attributes(), "initiated_event_id": initiated_id, **cause}
        del attributes["reason"]
        self._sender.receive(kind, attributes, job_of(resolve_request_cancel_external_workflow=told))


def _not_found(message: str) -> dict[str, Any]:
    return {"message": message, "application_failure_info": {"type": "ExternalWorkflowExecutionNotFound"}}
