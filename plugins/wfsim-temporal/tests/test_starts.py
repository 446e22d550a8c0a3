"""Starts, and update-with-start, under all policies for ids: equal to the real server's."""

import json

import pytest
import start_cases
import wfsim_temporal
from real_server import RECORDED, on_real_server
from temporalio.api.common.v1 import Link

WORKER = {"workflows": [start_cases.Desk], "task_queue": start_cases.QUEUE}
NAMES = list(RECORDED["starts"])
pytestmark = pytest.mark.skipif(
    "workflow" not in Link.DESCRIPTOR.fields_by_name,
    reason="older releases of the SDK know less of the answers",
)


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(start_cases.play_all, **WORKER)
    played = run.result()
    assert run.check_replay() > 8
    return json.loads(json.dumps(played))


@pytest.fixture(scope="module")
def real():
    return json.loads(json.dumps(on_real_server(start_cases.play_all, **WORKER)))


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_that_the_real_server_gave(simulated, name):
    """When they were recorded; for where there is none."""
    assert simulated[name] == RECORDED["starts"][name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_those_of_the_real_server(simulated, real, name):
    """What is answered, and how it is refused."""
    assert simulated[name] == real[name]


def test_every_step_is_recorded(simulated):
    """A step that is added has to be recorded too."""
    assert list(simulated) == NAMES
