"""The real Replayer as judge: it runs Temporal's Core on the histories that a simulation has written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from wfsim_temporal.errors import ReplayFailed
from wfsim_temporal.worker._capture import in_real_world

_MESSAGE: Final = re.compile(r'Failure \{ message: "(?P<message>(?:[^"\\]|\\.)*)"')

_STARTED: Final = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_ENDED: Final = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from temporalio.api.history.v1 import HistoryEvent


def check_replay(
    histories: Iterable[WorkflowHistory],
    workflows: Sequence[type],
    *,
    configured_by: Sequence[Any] = (),
    **options: Any,
) -> int:
    """Replay histories with Temporal's own Replayer and give how many of them a worker had begun.

    ``options`` are those of Replayer. ``configured_by`` are plugins that have had their say in these already, and
    only take part while it runs; give others as ``plugins``. Each history goes through the JSON that Temporal's
    tools read. Raises ReplayFailed with all that the Replayer refuses.
    """
    recorded = [WorkflowHistory(one.workflow_id, _without_open_task(one.events)) for one in histories]
    # Of a run that no worker has begun yet the Replayer would await the first task for ever.
    begun = [one for one in recorded if any(event.event_type == _STARTED for event in one.events)]
    texts = [(one.workflow_id, one.to_json()) for one in begun]
    if not texts:
        return 0
    failures: dict[str, str] = in_real_world(lambda: _failures(texts, workflows, configured_by, options))
    if failures:
        raise ReplayFailed(failures)
    return len(texts)


def _without_open_task(events: Sequence[HistoryEvent]) -> Sequence[HistoryEvent]:
    """Leave out a task that is still open: there is nothing to compare, and its local activities would never end."""
    kinds = [event.event_type for event in events]
    last = max((place for place, kind in enumerate(kinds) if kind in {_STARTED, *_ENDED}), default=0)
    return events[:last] if kinds and kinds[last] == _STARTED else events


async def _failures(
    texts: list[tuple[str, str]],
    workflows: Sequence[type],
    configured_by: Sequence[Any],
    options: dict[str, Any],
) -> dict[str, str]:
    async def all_histories() -> AsyncIterator[WorkflowHistory]:
        for workflow_id, text in texts:
            yield WorkflowHistory.from_json(workflow_id, text)

    options = {"workflow_runner": UnsandboxedWorkflowRunner(), **options}
    replayer = Replayer(workflows=list(workflows), **options)
    replayer.plugins = [*replayer.plugins, *configured_by]
    failures = {}
    async with replayer.workflow_replay_iterator(all_histories()) as results:
        async for result in results:
            if result.replay_failure is not None:
                failures[result.history.workflow_id] = _in_short(str(result.replay_failure))
    return failures


def _in_short(told: str) -> str:
    """Give the message out of what Core tells of a failure: all of its fields, as Rust prints them."""
    found = _MESSAGE.search(told)
    return found["message"].replace('\\"', '"') if found and found["message"] else told
