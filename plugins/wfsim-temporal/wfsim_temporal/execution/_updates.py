"""Updates of one run: they travel beside the history until they are accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalio.api.failure.v1 import Failure
from temporalio.api.update.v1 import Outcome

from wfsim_temporal.nexus import Completion
from wfsim_temporal.wire import Job, job_of, link_to_request, link_to_workflow, not_found

if TYPE_CHECKING:
    import asyncio

    from wfsim_temporal.execution._execution import Execution


class Update:
    """One update. ``accepted`` and ``outcome`` are futures: whether it was accepted, and what came of it."""

    def __init__(
        self, request: Any, accepted: asyncio.Future[bool], outcome: asyncio.Future[Outcome]
    ) -> None:
        self.id: str = request.meta.update_id
        self.request = request
        self.accepted = accepted
        self.outcome = outcome
        self.is_accepted = self.is_completed = False
        self._event_id = self._admitted_id = 0
        self.callbacks = list(getattr(request, "completion_callbacks", ()))

    def job(self) -> Job:
        """Give it to the workflow."""
        asked = self.request.input
        return job_of(
            do_update={
                "id": self.id,
                "protocol_instance_id": self.id,
                "name": asked.name,
                "input": asked.args.payloads,
                "headers": dict(asked.header.fields),
                "run_validator": True,
            }
        )

    def restore(self, accepted_id: int, admitted_id: int) -> None:
        """Become one that a run whose history is shared has admitted or accepted; 0 where no event says so."""
        self._event_id, self._admitted_id = accepted_id, admitted_id
        if accepted_id:
            self.is_accepted = True
            _resolve(self.accepted, value=True)

    def admit_again(self, execution: Execution, origin: int) -> None:
        """Write that it is admitted once more, to a run that was reset."""
        self._admitted_id = len(execution.log) + 1
        execution.receive(
            "WORKFLOW_EXECUTION_UPDATE_ADMITTED",
            {"request": self.request, "origin": origin},
            self.job(),
            wakes=False,
        )

    def accept(self, execution: Execution, completed_id: int) -> None:
        """Write that the workflow has accepted it."""
        self._event_id = execution.add(
            "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
            protocol_instance_id=self.id,
            accepted_request_message_id=f"{self.id}/request",
            accepted_request_sequencing_event_id=self._admitted_id or completed_id - 2,
            accepted_request=None if self._admitted_id else self.request,
        )
        execution.journal.fact("update", self.request.input.name)
        _resolve(self.accepted, value=True)

    def complete(self, execution: Execution, result: Any, failure: Any) -> None:
        """Write what came of it."""
        told: dict[str, Any] = {"failure": failure} if failure else {"success": {"payloads": [result]}}
        outcome = Outcome(**told)
        execution.add(
            "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
            meta={"update_id": self.id},
            outcome=outcome,
            accepted_event_id=self._event_id,
        )
        self.is_completed = True
        self.settle(execution, outcome)

    def settle(self, execution: Execution, outcome: Outcome) -> None:
        """Tell all who wait for it what came of it."""
        if self.outcome.done():
            return
        _resolve(self.outcome, outcome)
        failure = outcome.failure if outcome.HasField("failure") else None
        payloads = outcome.success.payloads
        told = Completion(self.link(execution), payloads[0] if payloads else None, failure)
        execution.server.call_back_soon(self.callbacks, told)

    def link_for_client(self, execution: Execution) -> Any:
        """Give the link that the client is told; None if its release of the SDK knows no such.

        Of each that failed the server says that it was rejected.
        """
        if not self.outcome.done() or not self.outcome.result().HasField("failure"):
            return self.link(execution)
        named = (execution.server.namespace, execution.start.workflow_id, execution.run_id)
        return link_to_workflow(*named, "Update rejected")

    def link(self, execution: Execution) -> Any:
        """Give a link to its acceptance."""
        named = (execution.server.namespace, execution.start.workflow_id, execution.run_id)
        request_id = getattr(self.request, "request_id", "")
        return link_to_request(*named, request_id, "WORKFLOW_EXECUTION_UPDATE_ACCEPTED")


class Updates:
    """The updates of one run by their ids: the same id is the same update."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._by_id: dict[str, Update] = {}

    def find(self, update_id: str) -> Update | None:
        """Give the update of an id."""
        return self._by_id.get(update_id)

    def admit(self, request: Any) -> Update:
        """Take a client's request; the next workflow task brings it to the workflow."""
        known = self._by_id.get(request.meta.update_id)
        if known is not None:
            more = getattr(request, "completion_callbacks", ())
            known.callbacks += [one for one in more if one not in known.callbacks]
            return known
        server = self._execution.server
        update = self._by_id[request.meta.update_id] = Update(request, server.future(), server.future())
        task = self._execution.task
        if task.is_started:
            task.late_jobs.append(update.job())
        else:
            task.pending.append(update.job())
            task.schedule()
        return update

    def admit_again(self, request: Any, origin: int) -> None:
        """Take what was accepted in the run that this one is reset from."""
        server = self._execution.server
        update = self._by_id[request.meta.update_id] = Update(request, server.future(), server.future())
        update.admit_again(self._execution, origin)

    def restore(self, request: Any, *, accepted_id: int = 0, admitted_id: int = 0) -> None:
        """Have an update of a run whose history this one shares, by the events that admitted and accepted it."""
        server = self._execution.server
        update = self._by_id[request.meta.update_id] = Update(request, server.future(), server.future())
        update.restore(accepted_id, admitted_id)

    def complete_restored(self, update_id: str, outcome: Outcome) -> None:
        """Note what came of one of those."""
        _resolve(self._by_id[update_id].outcome, outcome)

    def reject(self, update: Update, failure: Any) -> None:
        """Forget an update that the workflow's validator refused: it leaves no event."""
        self._by_id.pop(update.id, None)
        self._execution.journal.fact("update_rejected", update.request.input.name)
        _resolve(update.accepted, value=False)
        _resolve(update.outcome, Outcome(failure=failure))

    def close(self) -> None:
        """End what is open: the run is over."""
        for update in self._by_id.values():
            if not update.accepted.done():
                error = not_found("workflow execution already completed")
                update.accepted.set_exception(error)
                update.accepted.exception()
            if update.is_accepted:
                update.settle(self._execution, Outcome(failure=_came_too_late()))
            _resolve(update.outcome, Outcome(failure=_came_too_late()))

    def give_up(self, error: Exception) -> None:
        """Let nobody wait for a run that goes nowhere."""
        for update in self._by_id.values():
            for future in (update.accepted, update.outcome):
                if not future.done():
                    future.set_exception(error)
                    future.exception()


def _came_too_late() -> Failure:
    failure = Failure(
        message="Workflow Update failed because the Workflow completed before the Update completed.",
        source="Server",
    )
    failure.application_failure_info.type = "AcceptedUpdateCompletedWorkflow"
    failure.application_failure_info.non_retryable = True
    return failure


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
