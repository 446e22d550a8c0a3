"""Pauses, resets and other options of activities: equal to the real server's, and what only a simulation can show."""

import asyncio
import json
from datetime import timedelta

import operator_cases
import pytest
import wfsim_temporal
from operator_cases import of, s
from real_server import RECORDED, on_real_server
from temporalio import activity
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.workflowservice import v1 as workflowservice
from temporalio.service import RPCError
from temporalio.worker import Worker

import wfsim

NAMES = list(operator_cases.CASES)
WORKER = {
    "workflows": operator_cases.WORKFLOWS,
    "activities": operator_cases.ACTIVITIES,
    "task_queue": operator_cases.QUEUE,
}


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(operator_cases.play_all, **WORKER)
    played = run.result()
    assert run.check_replay() >= len(NAMES)
    return json.loads(json.dumps(played))


@pytest.fixture(scope="module")
def real():
    return json.loads(json.dumps(on_real_server(operator_cases.play_all, **WORKER)))


if hasattr(workflowservice, "PauseActivityExecutionRequest"):  # older releases pause those of workflows alone
    import standalone_operator_cases as standalone

    ALONE = list(standalone.CASES)
else:
    ALONE = []


@pytest.fixture(scope="module")
def simulated_alone():
    return json.loads(json.dumps(wfsim_temporal.simulate(standalone.play_all_here).result()))


@pytest.fixture(scope="module")
def real_alone(real):
    worker = {"task_queue": standalone.QUEUE, "activities": standalone.ACTIVITIES}
    return json.loads(json.dumps(on_real_server(standalone.play_all, **worker)))


@pytest.mark.parametrize("name", ALONE)
def test_a_client_is_told_what_the_real_server_tells(simulated_alone, real_alone, name):
    """Of activities without a workflow: outcomes, descriptions, options, and how it refuses."""
    assert simulated_alone[name] == real_alone[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_that_the_real_server_gave(simulated, name):
    """When they were recorded; for where there is none."""
    assert simulated[name][0] == RECORDED["operator"][name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_the_real_server(simulated, real, name):
    """Results, descriptions on the way, what the calls answer, and how they refuse."""
    assert simulated[name][0] == real[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """Their types, which attempt the last one was, and what it failed by."""
    assert simulated[name][1] == real[name][1]


# -- what only a simulation shows


@activity.defn
async def charge(order: str) -> str:
    wfsim.effect("card charged", order)
    await asyncio.sleep(5)
    return f"attempt {activity.info().attempt}"


def drill(program, *, faults=(), seed=0):
    """Run ``program(bench)`` beside a worker whose workflow charges a card, or what the program wants."""

    async def main(client):
        return await program(operator_cases.Bench(client, "order", asyncio.Lock()))

    activities = [*operator_cases.ACTIVITIES, charge]
    options = {**WORKER, "activities": activities, "faults": faults, "seed": seed}
    return wfsim_temporal.simulate(main, **options)


def test_who_has_paused_what_is_told_of_a_run_that_waits_for_it():
    """Nobody unpauses it, and so the workflow never ends."""

    async def program(bench):
        await bench.start(of("charge", "order-1", queue="nobody"))
        await bench.act("pause", id="a0")
        await bench.end()

    error = drill(program).error
    assert isinstance(error, wfsim.errors.Deadlock)
    assert "Works 'order' waits for activity charge, which me has paused" in "".join(error.__notes__)


def test_a_crash_during_a_pause_is_noticed_after_it():
    """No timeout strikes before that; then the next attempt charges once more."""

    async def program(bench):
        await bench.start(of("charge", "order-1", start_to_close_timeout=10))
        await bench.until_state("STARTED")
        await bench.act("pause", id="a0")
        await asyncio.sleep(3600)
        said = [(await bench.told())["state"]]
        await bench.act("unpause", id="a0")
        return said, await bench.end()

    crash = wfsim.crash("charge", attempts=1, point="reply", restart_after="1s")
    run = drill(program, faults=[crash])
    assert run.result() == (["PAUSE_REQUESTED"], ["attempt 2"])
    assert not wfsim.checkers.effect_at_most_once(run.history).valid
    assert [op.name for op in run.history.where(kind="pause")] == ["charge"]
    assert [op.data["type"] for op in run.history.where(kind="timeout")] == ["StartToClose"]


def test_an_operator_does_not_hear_that_the_pause_took_effect():
    """The server's answer was lost; who looks sees it."""

    async def program(bench):
        await bench.start(of("charge", "order-1", queue="nobody"))
        with pytest.raises(RPCError, match="lost"):
            await bench.act("pause", id="a0")
        told = (await bench.told())["paused"]
        await bench.stop()
        return told

    assert drill(program, faults=[wfsim.lose_reply("pause_activity", on="rpc")]).result() is True


def test_a_queue_that_an_activity_has_left_does_not_have_it_any_more():
    """A worker that comes late to the queue finds nothing; back in it, the activity is done once."""

    async def program(bench):
        await bench.start(of("charge", "order-1", queue="late"))
        for _ in range(2):
            moved = ActivityOptions(task_queue={"name": "elsewhere"})
            await bench.change("task_queue.name", activity_options=moved)
        async with Worker(bench.client, task_queue="late", activities=[charge]):
            await asyncio.sleep(60)
            said = [(await bench.told())["state"]]
            await bench.change(restore_original=True)
            return said, await bench.end()

    run = drill(program)
    assert run.result() == (["SCHEDULED"], ["attempt 1"])
    assert wfsim.checkers.effect_at_most_once(run.history).valid


def test_jitter_is_drawn_from_the_seed():
    """Below its bound, for each activity anew, and the same in a run that is repeated."""

    async def program(bench):
        await bench.start(*[of("sleeps", 0, queue="nobody") for _ in range(4)])
        await bench.act("pause", type="sleeps")
        await bench.act("unpause", type="sleeps", jitter=s(1000))
        told = (await bench.handle.describe()).raw_description.pending_activities
        await bench.stop()
        return [one.next_attempt_schedule_time.ToDatetime() for one in told]

    run = drill(program, seed=3)
    due = run.result()
    assert len(set(due)) == 4
    assert timedelta(seconds=1) < max(due) - min(due) < timedelta(seconds=1000)
    again = drill(program, seed=3)
    assert again.result() == due
    assert again.history.fingerprint() == run.history.fingerprint()
    assert drill(program, seed=4).result() != due
