"""The run that follows another one: tried again, on its cron schedule, or continued as new."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import Payloads

from wfsim.units import NS_PER_SECOND
from wfsim_temporal.commands._start import BY_CRON, BY_RETRY
from wfsim_temporal.timetable import backoff_ns
from wfsim_temporal.wire import IN_PROGRESS, next_try

if TYPE_CHECKING:
    from temporalio.api.failure.v1 import Failure

    from wfsim_temporal.execution import Execution

_INTERVAL_NS_MIN: Final = NS_PER_SECOND
"""What the server leaves between the beginnings of two runs of a chain, so that no chain runs hot."""


def following(execution: Execution, *, delay_ns: int = 0, **changes: Any) -> Execution:
    """Begin the run that follows; it bears the same workflow id, and the same parent waits for it."""
    start, server = execution.start, execution.server
    lifetime_ns = server.now_ns - execution.began_ns - start.delay_ns
    if lifetime_ns + delay_ns < _INTERVAL_NS_MIN:
        delay_ns = _INTERVAL_NS_MIN - lifetime_ns
    again = execution.next_run = server.begin(
        replace(
            start,
            first_run_id=execution.first_run_id,
            continued_run_id=execution.run_id,
            deadline_ns=execution.deadline_ns,
            delay_ns=delay_ns,
            is_eager=False,
            identity="",
            **changes,
        )
    )
    if start.parent is not None:
        start.parent.run = again
    return again


def after_failure(execution: Execution, failure: Failure) -> tuple[int, Execution | None]:
    """Begin what follows a run that failed or took too long; give the retry state too."""
    start, now_ns = execution.start, execution.server.now_ns
    state, delay_ns = next_try(start.retry_policy, start.attempt, failure, now_ns, execution.deadline_ns)
    if state == IN_PROGRESS:
        again = following(
            execution,
            delay_ns=delay_ns,
            attempt=start.attempt + 1,
            initiator=BY_RETRY,
            last_failure=failure,
            heritage=execution.versioning.heritage_for_retry(),
        )
        return state, again
    return state, _on_schedule(execution, start.last_result, failure)


def after_success(execution: Execution, payload: Any) -> Execution | None:
    """Begin what follows a run that completed: the next one of its cron schedule, which is told the result."""
    return _on_schedule(execution, Payloads(payloads=[payload]), None)


def _on_schedule(execution: Execution, last_result: Any, last_failure: Failure | None) -> Execution | None:
    start = execution.start
    if not start.cron_schedule:
        return None
    due_ns = execution.began_ns + start.delay_ns
    delay_ns = backoff_ns(start.cron_schedule, due_ns, execution.server.now_ns)
    if delay_ns is None:
        return None
    return following(
        execution,
        delay_ns=delay_ns,
        attempt=1,
        initiator=BY_CRON,
        last_result=last_result,
        last_failure=last_failure,
        heritage=execution.versioning.heritage_for_cron(),
    )
