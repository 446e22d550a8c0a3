"""What the workflows of a run wait for that came to nothing: a note on its error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wfsim_temporal.wire import is_library, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wfsim_temporal.commands import Activity
    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Server

_SHOWN: Final = 10


def note_open_workflows(servers: Sequence[Server], error: BaseException) -> None:
    """Tell, on what ended a run, of each workflow that is still open where its code waits, or for which worker."""
    known = [one for server in servers for one in server.executions.values() if not one.is_closed]
    told = [line for one in known for line in _told(one, servers)]
    if told:
        rest = f"\n  and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        error.add_note("open workflows:\n  " + "\n  ".join(told[:_SHOWN]) + rest)
        error.__notes__.insert(0, error.__notes__.pop())  # before who waits in the simulation's own parts


def _told(execution: Execution, servers: Sequence[Server]) -> Iterator[str]:
    start, server = execution.start, execution.server
    name = f"{start.workflow_type} {start.workflow_id!r}"
    if len(servers) > 1:
        name += f" ({_place(server)})"
    if execution.closed.done() and execution.closed.exception() is not None:
        yield f"{name} gets nowhere: {execution.closed.exception()}"
        return
    if execution.task.is_wanted and not server.queue(start.task_queue).has_worker(is_workflow_task=True):
        yield (
            f"{name} waits for a worker of task queue {start.task_queue!r} that runs workflows"
            f"{_elsewhere(start.task_queue, servers)}"
        )
        return
    if execution.pause is not None:
        yield f"{name} has been paused by {execution.pause.identity or 'an operator'}"
        return
    for activity in execution.activities.values():
        why = _why_it_waits(activity, servers)
        if why:
            yield f"{name} waits for {why}"
    places = execution.waiting_at()
    yield f"{name} waits at {', '.join(places)}" if places else f"{name} is open"


def _why_it_waits(activity: Activity, servers: Sequence[Server]) -> str:
    """Say what an activity itself waits for, after "waits for"; "" if it is under way."""
    queue = activity.server.queue(activity.task_queue)
    if activity.pause is not None:
        return f"activity {activity.name}, which {activity.pause.identity or 'an operator'} has paused"
    if activity.is_queued and not queue.has_worker(is_workflow_task=False):
        return (
            f"a worker of task queue {activity.task_queue!r} that runs activities (activity {activity.name})"
            f"{_elsewhere(activity.task_queue, servers)}"
        )
    if activity.last_failure is None or activity.is_over:
        return ""
    return (
        f"activity {activity.name}, which is at attempt {activity.attempt}: the one before failed "
        f"({words_of(activity.last_failure)})"
    )


def _place(server: Server) -> str:
    return f"namespace {server.namespace!r} of {server.host.address}"


def _elsewhere(queue: str, servers: Sequence[Server]) -> str:
    """Say where there are workers of a queue, in case somebody has connected to another place than he meant."""
    places = [_place(one) for one in servers if any(worker.task_queue == queue for worker in one.workers)]
    return f"; such workers are connected to {', '.join(places)}" if places else ""


def places_in(tasks: Any) -> list[str]:
    """Give where the coroutines of tasks wait: lines of the user's own code, as "file.py:12 in function", sorted."""
    return sorted({place for place in map(_place_of, tasks) if place})


def _place_of(task: Any) -> str:
    """Give the innermost line of the user's own code in a coroutine that waits."""
    coroutine, found = task.get_coro(), ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and not is_library(frame.f_code.co_filename):
            found = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        coroutine = getattr(coroutine, "cr_await", None)
    return found
