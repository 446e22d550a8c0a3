"""Faults: on activities, on the worker, on the way to the server; and what replay brings to light."""

import asyncio
import time
import uuid
from datetime import timedelta

import pytest
import samples
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import TimeoutError as TemporalTimeout
from temporalio.service import RetryConfig
from wfsim_temporal import (
    NonDeterministicWorkflow,
    Settings,
    WorkflowTaskStuck,
    crash_points,
    crash_worker,
    evict,
)

import wfsim

TRIP = {"workflows": samples.WORKFLOWS, "activities": samples.ACTIVITIES}
EVERY_TASK = range(1, 100)


def effects(run):
    return [op.name for op in run.history.where(kind="effect")]


def starts(run, name):
    return [op.time_ns / 1e9 for op in run.history.where(kind="activity", name=name, type="invoke")]


@activity.defn
async def work() -> int:
    return activity.info().attempt


@workflow.defn
class Retrying:
    @workflow.run
    async def run(self) -> int:
        policy = RetryPolicy(
            initial_interval=timedelta(seconds=1),
            backoff_coefficient=3,
            maximum_interval=timedelta(seconds=10),
            maximum_attempts=6,
        )
        return await workflow.execute_activity(
            work, start_to_close_timeout=timedelta(seconds=5), retry_policy=policy
        )


def test_a_failing_activity_is_tried_again_by_its_policy(simulate):
    """The waits are 1 s, 3 s, 9 s, and then the maximum of 10 s."""
    run = simulate(Retrying, activities=[work], faults=[wfsim.fail("work", attempts=range(1, 5))])
    assert run.result() == 5
    times = starts(run, "work")
    assert [round(b - a) for a, b in zip(times, times[1:], strict=False)] == [1, 3, 9, 10]


def test_a_hanging_activity_times_out(simulate):
    """Nothing but the start-to-close timeout ends it."""
    run = simulate(Retrying, activities=[work], faults=[wfsim.hang("work")])
    assert isinstance(run.error, WorkflowFailureError)
    assert isinstance(run.error.cause.cause, TemporalTimeout)


def test_a_lost_result_makes_the_effect_happen_twice(simulate):
    """The activity took effect, the server never heard of it and tries again."""
    run = simulate(
        samples.TripWorkflow,
        samples.Trip("1"),
        activities=samples.ACTIVITIES,
        faults=[wfsim.lose_reply("book_hotel", attempts=1)],
    )
    assert effects(run) == ["hotel booked", "hotel booked", "car booked"]
    [verdict] = run.check(wfsim.checkers.effect_at_most_once)
    assert verdict.valid is False


def test_a_slow_activity_is_slow(simulate):
    """A delay strikes before the activity begins."""
    run = simulate(Retrying, activities=[work], faults=[wfsim.delay("work", "3s")])
    assert run.duration == pytest.approx(3, abs=0.1)


def test_the_worker_crashes_in_an_activity_and_another_takes_over(simulate):
    """The attempt is lost with its worker; after its timeout the other worker does it."""
    run = simulate(
        samples.TripWorkflow,
        samples.Trip("1"),
        activities=samples.ACTIVITIES,
        workers=2,
        faults=[wfsim.crash("book_car", count=1)],
    )
    assert run.result() == "hotel-1 car-1"
    assert [op.process for op in run.history.where(kind="process", name="crash")] != []


def test_a_crash_at_a_workflow_task_leads_to_a_replay(simulate):
    """The task times out; the worker, started anew, replays the workflow from its history."""
    run = simulate(
        samples.TripWorkflow,
        samples.Trip("1"),
        activities=samples.ACTIVITIES,
        faults=[crash_worker("TripWorkflow", task=2)],
    )
    assert run.result() == "hotel-1 car-1"
    assert "WORKFLOW_TASK_TIMED_OUT" in run.events("TripWorkflow")
    assert [op.data["tasks"] for op in run.history.where(kind="replay")] == [1]


async def busy(client):
    """Many workflows of several kinds at once."""
    q = {"task_queue": "wfsim"}

    async def approve():
        handle = await client.start_workflow(samples.Approval.run, 300, id="a", **q)
        await asyncio.sleep(3)
        await handle.execute_update(samples.Approval.approve_later, "u")
        return await handle.result()

    async def cancel():
        handle = await client.start_workflow(samples.Cancellable.run, id="c", **q)
        await asyncio.sleep(12)
        await handle.cancel()
        await asyncio.wait([asyncio.ensure_future(handle.result())])

    results = await asyncio.gather(
        client.execute_workflow(samples.TripWorkflow.run, samples.Trip("1"), id="t", **q),
        client.execute_workflow(samples.Squares.run, [2, 13, 5], id="s", **q),
        client.execute_workflow(samples.Countdown.run, 3, id="n", **q),
        approve(),
        cancel(),
    )
    return results[:4]


EXPECTED = ["hotel-1 car-1", ["4", "failed: unlucky", "25"], "lift-off", "approved by u"]


def test_eviction_after_every_task_changes_nothing(simulate):
    """Each task replays its workflow from the beginning, to the same end."""
    run = simulate(busy, **TRIP, faults=[evict(tasks=EVERY_TASK)])
    assert run.result() == EXPECTED
    assert len(run.history.where(kind="replay")) > 10


def test_replay_at_every_task_changes_nothing(simulate):
    """So does the setting, which needs no fault."""
    run = simulate(busy, **TRIP, settings=Settings(replay_every_task=True))
    assert run.result() == EXPECTED


def test_a_crash_at_each_point_is_survived(simulate):
    """Wherever the worker crashes once, the trip comes to the same end."""
    trip = {"activities": samples.ACTIVITIES}
    plain = simulate(samples.TripWorkflow, samples.Trip("1"), **trip)
    points = crash_points(plain)
    assert len(points) == 2 * (3 + 2)
    for point in points:
        run = simulate(samples.TripWorkflow, samples.Trip("1"), **trip, faults=[point.rule()])
        assert run.history.where(kind="process", name="crash"), point
        assert run.result() == "hotel-1 car-1", point


@activity.defn
async def pays(order: int, key: str) -> None:
    """Pay, once for each order but the third, whose key is forgotten."""
    if (order, key) not in PAID:
        wfsim.effect("paid", order)
        PAID.update({(order, key): True} if order != 3 else {})


PAID = {}


@workflow.defn
class PaysThree:
    @workflow.run
    async def run(self, parallel: bool) -> None:
        each = [
            workflow.start_activity(
                pays, args=[order, f"key-{order}"], start_to_close_timeout=timedelta(seconds=9)
            )
            for order in ((1, 2, 3) if parallel else ())
        ]
        await asyncio.gather(*each)
        for order in () if parallel else (1, 2, 3):
            await workflow.execute_activity(
                pays, args=[order, f"key-{order}"], start_to_close_timeout=timedelta(seconds=9)
            )


@pytest.mark.parametrize("parallel", [False, True])
def test_crash_points_tell_apart_what_has_the_same_name(simulate, parallel):
    """An activity that is called three times can crash at each call, also of those at the same instant."""

    def play(*faults):
        PAID.clear()
        return simulate(PaysThree, parallel, activities=[pays], faults=faults)

    points = [one for one in crash_points(play()) if one.on == "activity"]
    assert [(one.point, one.occurrence) for one in points] == [
        (point, number) for number in (1, 2, 3) for point in ("call", "reply")
    ]
    broken = []
    for one in points:
        run = play(one.rule())
        assert run.history.where(kind="process", name="crash"), one
        if run.check(wfsim.checkers.effect_at_most_once)[0].valid is False:
            broken.append((one.point, one.occurrence))
    assert ("reply", 3) in broken
    if not parallel:  # else the worker may die with more of what it does at that instant
        assert len(broken) == 1


def test_what_failed_has_no_answer_that_a_crash_could_swallow(simulate):
    """A crash before the reply of an attempt that failed would strike another attempt, or none."""
    run = simulate(
        PaysThree, False, activities=[pays], faults=[wfsim.fail("pays", attempts=1, skip=1, count=1)]
    )
    points = [one for one in crash_points(run) if one.on == "activity"]
    assert [(one.attempt, one.occurrence) for one in points if one.point == "call"] == [
        (1, 1), (1, 2), (2, 1), (1, 3)
    ]  # fmt: skip
    assert [(one.attempt, one.occurrence) for one in points if one.point == "reply"] == [
        (1, 1), (1, 2), (2, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_chaos_keeps_histories_replayable(simulate, seed):
    """Failures, delays, lost results, crashes and evictions at once: every workflow ends, every history replays."""
    chance = {"probability": 0.15}
    faults = [
        wfsim.fail("*", on="activity", **chance),
        wfsim.lose_reply("*", on="activity", **chance),
        wfsim.delay("*", "700ms", on="activity", **chance),
        wfsim.crash("*", on="activity", restart_after="2s", probability=0.03),
        wfsim.crash("*", on="workflow_task", restart_after="2s", probability=0.03),
        wfsim.delay("*", "1500ms", on="workflow_task", **chance),
        wfsim_temporal.evict(),
    ]
    run = simulate(busy, **TRIP, faults=faults, seed=seed, max_time="1d")
    assert run.result() == EXPECTED


@workflow.defn
class Interrupted:
    """Cancelled in the very moment in which its activity has come to an end."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(work, start_to_close_timeout=timedelta(seconds=60))
        except asyncio.CancelledError:
            await workflow.sleep(7)
            return "cancelled"
        await workflow.sleep(3)
        return "done"


def interrupt(simulate, after_s, **options):
    """Run it where each message takes a second; the workflow has begun when the start is answered."""

    async def main(client):
        handle = await client.start_workflow(Interrupted.run, id="one", task_queue="trip")
        await asyncio.sleep(after_s)
        await handle.cancel()
        return await handle.result()

    settings = Settings(latency_ns=1_000_000_000, **options)
    return simulate(main, workflows=[Interrupted], activities=[work], task_queue="trip", settings=settings)


def test_a_behaviour_that_the_sdk_flags_is_the_same_on_replay(simulate):
    """What depends on a flag of the SDK (a cancellation beside a result) is done on replay as it was done first."""
    run = interrupt(simulate, 2.5, replay_every_task=True)
    kinds = run.events("one")
    [flagged] = [
        event.workflow_task_completed_event_attributes.sdk_metadata.lang_used_flags
        for event in run.workflow_histories[0].events
        if event.workflow_task_completed_event_attributes.sdk_metadata.lang_used_flags
    ]
    asked = kinds.index("WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    assert kinds[asked : asked + 5] == [
        "WORKFLOW_EXECUTION_CANCEL_REQUESTED",
        "WORKFLOW_TASK_SCHEDULED",
        "ACTIVITY_TASK_STARTED",
        "ACTIVITY_TASK_COMPLETED",
        "WORKFLOW_TASK_STARTED",
    ]
    assert list(flagged) == [1]
    assert run.result() == "cancelled"
    assert run.check_replay() == 1


def test_a_task_that_came_to_nothing_told_the_workflow_nothing(simulate):
    """An activity cancelled in a task that the server refuses tells its real outcome to the next one."""
    run = interrupt(simulate, 1.5)
    kinds = run.events("one")
    refused = kinds.index("WORKFLOW_TASK_FAILED")
    assert kinds[refused + 1 : refused + 3] == ["ACTIVITY_TASK_STARTED", "ACTIVITY_TASK_COMPLETED"]
    assert run.result() == "cancelled"
    assert run.check_replay() == 1


flips = []


@workflow.defn
class Flipper:
    """Its first command depends on a global: not deterministic."""

    @workflow.run
    async def run(self) -> None:
        flips.append(1)
        if len(flips) % 2:
            await workflow.execute_activity(work, start_to_close_timeout=timedelta(seconds=5))
        else:
            await workflow.sleep(1)
        await workflow.sleep(1)


def test_nondeterminism_is_found_by_replay(simulate):
    """The error names the task and both commands."""
    flips.clear()
    run = simulate(Flipper, activities=[work], settings=Settings(replay_every_task=True))
    assert isinstance(run.error, NonDeterministicWorkflow)
    assert (run.error.task, run.error.recorded, run.error.replayed) == (
        1,
        "schedule activity work",
        "start timer 1",
    )


@activity.defn
async def note(text: str) -> None:
    """Take anything."""


@workflow.defn
class Labels:
    """Its argument is another on replay; the command is the same, and its result is in the history."""

    @workflow.run
    async def run(self) -> None:
        text = (
            "the same words that a message begins with, and " + "many more of them, " * 9 + str(uuid.uuid4())
        )
        await workflow.execute_activity(note, text, start_to_close_timeout=timedelta(seconds=5))
        await workflow.sleep(1)


def test_replay_compares_what_a_server_compares(simulate):
    """Arguments are not among it, unless one has asked for a close look; then the difference can be seen."""
    run = simulate(Labels, activities=[note], faults=[evict("Labels", tasks=range(1, 9))])
    assert run.error is None
    assert run.check_replay() == 1
    error = simulate(Labels, activities=[note], settings=Settings(replay_every_task=True)).error
    assert isinstance(error, NonDeterministicWorkflow)
    assert error.recorded != error.replayed
    shown = "schedule activity note with arguments ...e of them, many more of them, "
    assert error.recorded.startswith(shown)
    assert error.replayed.startswith(shown)


@workflow.defn
class LooksAtTheClock:
    @workflow.run
    async def run(self) -> None:
        began = time.time()
        await workflow.sleep(1)
        if time.time() - began > 0.5:
            await workflow.execute_activity(work, start_to_close_timeout=timedelta(seconds=9))


@workflow.defn
class CountsItsQueries:
    def __init__(self) -> None:
        self.asked = 0
        self.is_over = False

    @workflow.query
    def ask(self) -> int:
        self.asked += 1
        return self.asked

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.is_over)
        await workflow.sleep(10 * self.asked)


async def asks(client):
    handle = await client.start_workflow(CountsItsQueries.run, id="asked", task_queue="wfsim")
    await handle.query(CountsItsQueries.ask)
    await handle.signal(CountsItsQueries.end)
    await handle.result()


@pytest.mark.parametrize(
    ("main", "recorded", "replayed"),
    [
        (LooksAtTheClock, "schedule activity work", "complete workflow execution"),
        (asks, "start timer 1 with start to fire timeout 10s", "start timer 1 with start to fire timeout 0s"),
    ],
)
@pytest.mark.usefixtures("unreplayed")
def test_what_only_the_first_time_knows_is_found_by_replay(simulate, main, recorded, replayed):
    """How much time has passed, or what a query has changed: another worker would not know of it."""
    settings = Settings(replay_every_task=True)
    run = simulate(main, workflows=[LooksAtTheClock, CountsItsQueries], activities=[work], settings=settings)
    assert isinstance(run.error, NonDeterministicWorkflow)
    assert (run.error.task, run.error.recorded, run.error.replayed) == (2, recorded, replayed)


@workflow.defn
class Broken:
    @workflow.run
    async def run(self) -> None:
        raise ValueError("a bug")


def test_a_task_that_fails_for_ever_is_an_error(simulate):
    """A server would try it for ever; a test wants to hear of it."""
    run = simulate(Broken)
    assert isinstance(run.error, WorkflowTaskStuck)
    assert "a bug" in str(run.error)


def test_the_server_is_away(simulate):
    """A rule on the client's calls makes them fail with gRPC's status, when the client has lost its patience.

    That was after 8.4 seconds with a real server that was stopped.
    """
    run = simulate(Retrying, activities=[work], faults=[wfsim.fail("start_workflow_execution")])
    assert "UNAVAILABLE" in repr(run.error.status)
    assert run.duration == pytest.approx(7.5, rel=0.2)
    assert len(run.history.where(kind="fault")) == 10


@pytest.mark.parametrize("make", [wfsim.fail, wfsim.lose_reply])
def test_a_client_asks_again_while_the_server_is_away(simulate, make):
    """As Core's client does, with the same request, so that nothing is started or signalled twice."""
    every = ["start_workflow_execution", "signal_workflow_execution", "get_workflow_execution_history"]
    faults = [make(name, on="rpc", attempts=range(1, 4)) for name in every]

    async def main(client):
        handle = await client.start_workflow(Counts.run, id="counts", task_queue="wfsim")
        for _ in range(3):
            await handle.signal(Counts.add)
        return await handle.result()

    run = simulate(main, workflows=[Counts], faults=faults)
    assert run.result() == 3
    assert len(run.history.where(kind="fault")) == 3 * 5
    assert len(run.logs) == 1


@pytest.mark.parametrize("is_open", [False, True])
def test_a_signal_that_starts_is_given_once(simulate, is_open):
    """Whether it starts the workflow or finds it open: its answer is lost, and the client asks again."""

    async def main(client):
        options = {"id": "counts", "task_queue": "wfsim"}
        if is_open:
            await client.start_workflow(Counts.run, **options)
        handle = await client.start_workflow(Counts.run, **options, start_signal="add")
        for _ in range(3 - 1):
            await handle.signal(Counts.add)
        return await handle.result()

    lost = wfsim.lose_reply("signal_with_start_workflow_execution", on="rpc", attempts=[1, 2])
    assert simulate(main, workflows=[Counts], faults=[lost]).result() == 3


def test_a_client_has_the_patience_that_it_is_given(simulate):
    """Its RetryConfig counts, also the time that it may take."""

    async def main():
        client = await Client.connect("localhost:7233", retry_config=RetryConfig(max_retries=3))
        await client.start_workflow("Counts", id="counts", task_queue="q")

    run = simulate(main, faults=[wfsim.fail("start_workflow_execution")])
    assert len(run.history.where(kind="fault")) == 3
    assert run.duration == pytest.approx(0.25, rel=0.25)


@workflow.defn
class Counts:
    """Ends a while after the third signal, and gives how many came."""

    def __init__(self) -> None:
        self.signals = 0

    @workflow.signal
    def add(self) -> None:
        self.signals += 1

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.signals >= 3)
        await workflow.sleep(60)
        return self.signals


def test_a_late_heartbeat_times_out(simulate):
    """A heartbeat that is delayed beyond the timeout costs the attempt."""

    async def main(client):
        handle = await client.start_workflow(samples.Cancellable.run, id="c", task_queue="wfsim")
        await asyncio.sleep(60)
        await handle.cancel()
        await handle.result()

    run = simulate(main, **TRIP, faults=[wfsim.delay("poll.heartbeat", "30s", attempts=1)])
    assert [op.data["type"] for op in run.history.where(kind="timeout")] == ["Heartbeat"]
