"""The SDK's Replayer in a simulation: it runs on Core, which knows no virtual time, so it does so outside.

The histories are read in the simulation, since they may come from its server; then they are replayed in the
real world while the simulation stands still.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from wfsim.kernel import current
from wfsim_temporal.worker._capture import in_real_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from temporalio.client import WorkflowHistory


def replaying_outside(real: Callable[..., Any]) -> Callable[..., Any]:
    """Make of ``Replayer.workflow_replay_iterator`` one that works inside a simulation too."""

    def workflow_replay_iterator(
        replayer: Any, histories: AsyncIterator[WorkflowHistory]
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        if current() is None:
            found: AbstractAsyncContextManager[AsyncIterator[Any]] = real(replayer, histories)
            return found
        return _replayed(lambda known: real(replayer, known), histories)

    return workflow_replay_iterator


@asynccontextmanager
async def _replayed(
    replay: Callable[[Any], Any], histories: AsyncIterator[WorkflowHistory]
) -> AsyncIterator[AsyncIterator[Any]]:
    known = [one async for one in histories]

    async def replay_all() -> list[Any]:
        async with replay(_each(known)) as results:
            return [one async for one in results]

    yield _each(in_real_world(replay_all) if known else [])


async def _each(things: list[Any]) -> AsyncIterator[Any]:
    for one in things:
        yield one
