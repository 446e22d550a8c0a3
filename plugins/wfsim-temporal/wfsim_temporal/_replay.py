"""The real Replayer as judge: it runs Temporal's Core on the histories that a simulation has written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from wfsim_temporal._capture import in_real_world
from wfsim_temporal.errors import ReplayFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from temporalio.client import WorkflowHistory


def check_replay(histories: Iterable[WorkflowHistory], workflows: Sequence[type], **options: Any) -> int:
    """Replay histories with Temporal's own Replayer and give how many there were.

    ``options`` are those of Replayer. Each history goes through the JSON that Temporal's tools read. Raises
    ReplayFailed with all that the Replayer refuses.
    """
    texts = [(one.workflow_id, one.to_json()) for one in histories]
    if not texts:
        return 0
    failures: dict[str, str] = in_real_world(lambda: _failures(texts, workflows, options))
    if failures:
        raise ReplayFailed(failures)
    return len(texts)


async def _failures(
    texts: list[tuple[str, str]], workflows: Sequence[type], options: dict[str, Any]
) -> dict[str, str]:
    from temporalio.client import WorkflowHistory

    async def all_histories() -> AsyncIterator[WorkflowHistory]:
        for workflow_id, text in texts:
            yield WorkflowHistory.from_json(workflow_id, text)

    options = {"workflow_runner": UnsandboxedWorkflowRunner(), **options}
    replayer = Replayer(workflows=list(workflows), **options)
    failures = {}
    async with replayer.workflow_replay_iterator(all_histories()) as results:
        async for result in results:
            if result.replay_failure is not None:
                failures[result.history.workflow_id] = str(result.replay_failure)
    return failures
