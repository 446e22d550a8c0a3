"""Whole workflows that are paused: equal to the real server's, and what only a simulation can show."""

import asyncio
import json

import pytest
import wfsim_temporal
from real_server import RECORDED, on_real_server
from temporalio.api.workflowservice import v1 as workflowservice

import wfsim

if not hasattr(workflowservice, "PauseWorkflowExecutionRequest"):
    pytest.skip("this release of the SDK cannot ask for it", allow_module_level=True)

import pause_cases

NAMES = list(pause_cases.CASES)
WORKER = {
    "workflows": pause_cases.WORKFLOWS,
    "activities": pause_cases.ACTIVITIES,
    "task_queue": pause_cases.QUEUE,
}


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(pause_cases.play_all, **WORKER)
    played = run.result()
    assert run.check_replay() >= len(NAMES) - 2
    return json.loads(json.dumps(played))


@pytest.fixture(scope="module")
def real():
    played = on_real_server(pause_cases.play_all, arguments=pause_cases.ALLOWED, **WORKER)
    return json.loads(json.dumps(played))


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_that_the_real_server_gave(simulated, name):
    """When they were recorded; for where there is none."""
    assert simulated[name][0] == RECORDED["pauses"][name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_the_real_server(simulated, real, name):
    """Results, descriptions on the way, what the calls answer, and how they refuse."""
    assert simulated[name][0] == real[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """Their types, and who has paused the run and why."""
    assert simulated[name][1] == real[name][1]


# -- what only a simulation shows


def drill(program, *, faults=()):
    """Run ``program(bench)`` beside a worker."""

    async def main(client):
        return await program(pause_cases.Bench(client, "order"))

    return wfsim_temporal.simulate(main, faults=faults, **WORKER)


async def pauses_twice(bench):
    await bench.start(("timer", 3), ("activity", 2), ("timer", 12))
    for _ in range(2):
        await bench.pause()
        await asyncio.sleep(5)
        await bench.unpause()
        await asyncio.sleep(5)
    await asyncio.sleep(20)
    return await bench.end()


@pytest.mark.parametrize(
    "fault",
    [
        wfsim_temporal.evict("Does", tasks=range(1, 100)),
        wfsim_temporal.crash_worker("Does", task=2, restart_after="1s"),
        wfsim_temporal.crash_worker("Does", task=3, restart_after="1s"),
    ],
    ids=["evicted", "crashed", "crashed later"],
)
def test_a_run_that_was_paused_is_replayed(fault):
    """Whichever worker goes on with it, the events of pauses are none of the workflow's."""
    expected = drill(pauses_twice).result()
    run = drill(pauses_twice, faults=[fault])
    assert run.result() == expected
    assert run.check_replay() == 1
    assert [op.name for op in run.history.where(kind="pause")] == ["Does", "Does"]


def test_who_has_paused_a_run_is_told_if_nobody_lets_it_go_on():
    """It never ends."""

    async def program(bench):
        await bench.start(("timer", 5))
        await bench.pause()
        await bench.handle.result()

    error = drill(program).error
    assert isinstance(error, wfsim.errors.Deadlock)
    assert "Does 'order' has been paused by me" in "".join(error.__notes__)
