"""What users' own applications do, as teams write them: what they need is there, and what is wrong is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowUpdateFailedError
from wfsim_temporal import Settings


class Status(StrEnum):
    DONE = "done"


@dataclass
class Receipt:
    order: str
    status: Status


@workflow.defn
class GivesAReceipt:
    @workflow.run
    async def run(self, order: str) -> Receipt:
        return Receipt(order, Status.DONE)


def test_a_result_has_the_type_that_the_workflow_declares(simulate):
    """As ``client.execute_workflow(Order.run, ...)`` gives it: a dataclass, and no dict of its fields."""
    assert simulate(GivesAReceipt, "order-1").result() == Receipt("order-1", Status.DONE)


@activity.defn
async def audit(who: str) -> str:
    return f"audited {who}"


@workflow.defn
class Votes:
    def __init__(self) -> None:
        self.by: list[str] = []

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: len(self.by) == 2 and workflow.all_handlers_finished())
        return self.by

    @workflow.update
    async def vote(self, who: str) -> str:
        self.by.append(who)
        return await workflow.execute_activity(audit, who, start_to_close_timeout=timedelta(seconds=9))

    @vote.validator
    def may_vote(self, who: str) -> None:
        if who in self.by:
            raise ValueError(f"{who} has voted")

    @workflow.query
    def voters(self) -> list[str]:
        return self.by


@pytest.mark.parametrize("replays", [False, True])
def test_an_update_that_is_refused_beside_others_is_not_replayed(simulate, replays):
    """The history knows nothing of it; a query after the end replays the others alone."""

    async def main(client):
        handle = await client.start_workflow(Votes.run, id="votes", task_queue="wfsim")
        voting = [handle.execute_update(Votes.vote, who) for who in ("ann", "ann", "bob", "bob")]
        told = await asyncio.gather(*voting, return_exceptions=True)
        return told, await handle.result(), await handle.query(Votes.voters)

    settings = Settings(replay_every_task=replays)
    run = simulate(main, workflows=[Votes], activities=[audit], settings=settings)
    told, result, voters = run.result()
    assert [isinstance(one, WorkflowUpdateFailedError) for one in told] == [False, True, False, True]
    assert result == voters == ["ann", "bob"]
