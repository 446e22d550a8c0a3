"""Pauses, resets and other options of activities: equal to the real server's, and what only a simulation can show."""

import json

import operator_cases
import pytest
import wfsim_temporal
from real_server import RECORDED, on_real_server
from temporalio.client import ActivityHandle

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


if hasattr(ActivityHandle, "pause"):  # older releases of the SDK pause activities of workflows alone
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
