"""What users' own applications do, as teams write them: what they need is there, and what is wrong is told."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.workflow import ParentClosePolicy
from wfsim_temporal import ReplayFailed, Settings, crash_points, evict

import wfsim
from wfsim.errors import Deadlock


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


@activity.defn
async def write(key: str) -> None:
    await asyncio.sleep(1)
    wfsim.effect("written", key)


@workflow.defn
class Writes:
    @workflow.run
    async def run(self, key: str) -> None:
        await workflow.execute_activity(write, key, start_to_close_timeout=timedelta(seconds=5))


def written(run):
    return [op.time_ns / 1e9 for op in run.history.where(kind="effect")]


def test_what_an_attempt_does_that_was_given_up_is_seen(simulate):
    """The first attempt times out, and writes all the same: after the second one has done the work."""
    run = simulate(Writes, "a", activities=[write], faults=[wfsim.delay("write", "8s", attempts=1)])
    assert run.ok
    [verdict] = run.check(wfsim.checkers.effect_at_most_once)
    assert "'written' of 'a' happened twice" in verdict.message
    first, second = written(run)
    assert first < run.duration < second  # it is the workflow's duration that counts


def test_how_long_what_is_left_may_go_on_is_ones_own_choice(simulate):
    """With no time to settle the workers stop at once, and cancel what they do, as the SDK's would."""
    late = {"activities": [write], "faults": [wfsim.delay("write", "8s", attempts=1)]}
    assert len(written(simulate(Writes, "a", **late, settle=0))) == 1
    assert len(written(simulate(Writes, "a", **late, max_time="8s"))) == 1
    assert simulate(Writes, "a", **late, max_time="8s").ok


def test_nothing_settles_after_a_run_that_leaves_nothing(simulate):
    """Time passes only for what is under way."""
    run = simulate(Writes, "a", activities=[write])
    assert run.history[-1].time_ns == run.duration_ns


@workflow.defn
class Delegates:
    @workflow.run
    async def run(self) -> None:
        await workflow.start_child_workflow(
            Writes.run, "by a child", parent_close_policy=ParentClosePolicy.ABANDON
        )


def test_an_abandoned_child_does_its_work(simulate):
    """Its parent's end is the end of what was asked for, not of what goes on."""
    run = simulate(Delegates, workflows=[Writes], activities=[write])
    assert [op.data["key"] for op in run.history.where(kind="effect")] == ["by a child"]


@activity.defn
async def import_rows() -> None:
    told = activity.info().heartbeat_details
    for row in range(told[0] if told else 0, 6):
        wfsim.effect("row imported", row)
        activity.heartbeat(row + 1)
        await asyncio.sleep(4)


@workflow.defn
class Imports:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            import_rows,
            start_to_close_timeout=timedelta(minutes=9),
            heartbeat_timeout=timedelta(seconds=5),
        )


def test_a_worker_can_crash_at_each_heartbeat(simulate):
    """The next attempt goes on from the heartbeat before: the server has not heard of the one of the crash."""
    points = [
        one for one in crash_points(simulate(Imports, activities=[import_rows])) if one.on == "heartbeat"
    ]
    assert [one.occurrence for one in points] == [1, 2, 3, 4, 5, 6]
    for one in points:
        run = simulate(Imports, activities=[import_rows], faults=[one.rule()])
        rows = [op.data["key"] for op in run.history.where(kind="effect")]
        assert rows == sorted([*range(6), one.occurrence - 1])


@workflow.defn
class NeverTold:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(1)
        await workflow.wait_condition(lambda: False)


def test_the_line_is_told_also_of_a_workflow_that_was_evicted(simulate):
    """The worker had it in its cache, and knows where it waited."""
    run = simulate(NeverTold, faults=[evict()])
    assert isinstance(run.error, Deadlock)
    assert "NeverTold 'NeverTold' waits at test_user_code.py:" in "".join(run.error.__notes__)


def frames_of(error):
    return [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]


def test_an_error_that_says_it_all_comes_without_our_frames(simulate):
    """What a test shows is the user's own code: the call that raised, if one did, and no way through the simulator."""
    stuck, deadlock = simulate(FailsItsTask).error, simulate(NeverTold).error
    assert frames_of(stuck) == frames_of(deadlock) == []
    assert deadlock.__context__ is None

    async def main(client):
        await client.execute_workflow(Rejects.run, id="rejects", task_queue="wfsim")

    failed = simulate(main, workflows=[Rejects]).error
    assert isinstance(failed, WorkflowFailureError)
    assert frames_of(failed) == [__file__]


def test_an_error_of_ones_own_keeps_its_whole_way(simulate):
    """It may say little, and the way to it all."""

    async def main(client):
        raise LookupError("mine")

    assert __file__ in frames_of(simulate(main, workflows=[Rejects]).error)
    assert len(frames_of(simulate(main, workflows=[Rejects]).error)) > 1


@workflow.defn
class FailsItsTask:
    @workflow.run
    async def run(self) -> None:
        raise KeyError("total")


@workflow.defn
class Rejects:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no")


@workflow.defn
class LooksAtIsReplaying:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(1)
        if not workflow.unsafe.is_replaying():
            await workflow.sleep(1)


@pytest.mark.usefixtures("unreplayed")
def test_what_the_replayer_refuses_is_told_in_its_words(simulate):
    """The message alone, and none of the fields around it."""
    run = simulate(LooksAtIsReplaying)
    assert run.ok
    with pytest.raises(ReplayFailed) as caught:
        run.check_replay()
    [told] = caught.value.failures.values()
    assert told.startswith("[TMPRL1100] Nondeterminism error: ")
    assert "encoded_attributes" not in told
