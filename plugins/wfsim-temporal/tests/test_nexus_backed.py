"""Nexus operations that an activity or an update backs: as the real server tells them."""

import json

import pytest
import wfsim_temporal
from real_server import on_real_server
from temporalio import nexus

if not hasattr(nexus, "temporal_operation"):
    pytest.skip("this release of the SDK has no such operations", allow_module_level=True)

import nexus_backed_cases as cases

# What the server leaves out unless it is told otherwise.
CALLBACKS = ("activity.enableCallbacks", "history.enableUpdateCallbacks")
# An update is answered at once: the handler may hear of it first, or the caller.
RACES = ("update at once",)


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(cases.play_all_here)
    told = run.result()
    assert run.check_replay() > len(cases.CASES)
    return json.loads(json.dumps(told))


@pytest.fixture(scope="module")
def real():
    arguments = [part for name in CALLBACKS for part in ("--dynamic-config-value", f"{name}=true")]
    told = on_real_server(
        cases.play_all, arguments=arguments, task_queue="unused", workflows=[cases.BackedCaller]
    )
    return json.loads(json.dumps(told))


@pytest.mark.parametrize("name", cases.CASES)
def test_the_caller_is_told_what_the_real_server_tells(simulated, real, name):
    """Values, errors and all their causes."""
    assert simulated[name][0] == real[name][0]


@pytest.mark.parametrize("name", [name for name in cases.CASES if name not in RACES])
def test_the_events_are_those_of_the_real_server(simulated, real, name):
    """Those of the caller but for workflow tasks; attributes, failures and links too."""
    assert without_tasks(simulated[name][1]) == without_tasks(real[name][1])


def without_tasks(events):
    return [one for one in events if not one[0].startswith("WORKFLOW_TASK")]


def test_updates_leave_the_events_of_the_real_server(simulated, real):
    """In the workflow that answers them."""
    assert simulated["desk"] == real["desk"]


def test_the_answers_of_handlers_are_lost(simulate):
    """The end of what backs the operation is enough; with the same request id nothing is begun twice."""
    import wfsim

    faults = [
        wfsim.lose_reply(name, on="nexus", attempts=1) for name in ("by_activity", "by_update", "by_workflow")
    ]
    run = simulate(cases.play_all_here, faults=faults)
    told = {name: run.result()[name][0] for name in cases.CASES}
    assert told["activity completes"] == ["value", "ok at 1"]
    assert told["update later"] == ["value", "answered later"]
    assert told["workflow runs"] == ["value", "Hello at last, workflow runs"]
