"""Nexus operations that a client calls: as the real server tells of them, and what only a simulation can show."""

import json

import nexus_cases
import pytest
import wfsim_temporal
from real_server import on_real_server
from temporalio.client import Client

import wfsim

if not hasattr(Client, "create_nexus_client"):
    pytest.skip("this release of the SDK has no such operations", allow_module_level=True)

import nexus_client_cases as cases

NAMES = [*cases.CASES, *cases.FILTERS, "GROUP BY"]
# What the server leaves out unless it is told otherwise.
STANDALONE = ("--dynamic-config-value", "nexusoperation.enableStandalone=true")


@pytest.fixture(scope="module")
def simulated():
    return by_name(wfsim_temporal.simulate(cases.play_all_here).result())


@pytest.fixture(scope="module")
def real():
    worker = {"task_queue": "unused", "workflows": [nexus_cases.Caller]}
    return by_name(
        on_real_server(cases.play_all, arguments=STANDALONE, search_attributes=[cases.CITY], **worker)
    )


def by_name(told):
    lists = told.pop("lists")
    return json.loads(json.dumps({**told, **dict(zip([*cases.FILTERS, "GROUP BY"], lists, strict=True))}))


@pytest.mark.parametrize("name", NAMES)
def test_a_client_is_told_what_the_real_server_tells(simulated, real, name):
    """Outcomes with all their causes, descriptions on the way and at the end, refusals, lists and counts."""
    assert simulated[name] == real[name]


def played(*names, **options):
    async def main():
        client = await Client.connect("localhost:7233")
        async with cases.handler(client):
            await nexus_cases.create_endpoint(client)
            return [await cases.CASES[name](client, name) for name in names]

    return wfsim_temporal.simulate(main, **options)


def test_it_is_an_operation_with_its_requests_below():
    """The history has the whole and each request; a handler that fails is asked again."""
    run = played("answers", faults=[wfsim.fail("greet", attempts=1)])
    assert run.result()[0][:2] == ["value", "Hello, answers"]
    [whole] = run.history.where(kind="nexus_operation", type="invoke")
    assert (whole.name, whole.process, run.history.completion(whole.index).type) == ("greet", "answers", "ok")
    requests = run.history.where(kind="nexus", type="invoke")
    assert [(op.name, op.attempt, op.cause) for op in requests] == [
        ("greet", 1, whole.index),
        ("greet", 2, whole.index),
    ]


def test_its_failure_is_in_the_history():
    """With the type of what the handler raised."""
    run = played("fails")
    [whole] = run.history.where(kind="nexus_operation", type="invoke")
    ended = run.history.completion(whole.index)
    assert (ended.type, ended.data["error"], ended.data["message"]) == ("fail", "OperationError", "not today")


def test_a_lost_answer_starts_no_second_workflow():
    """The end of the run that backs the operation is enough."""
    run = played("runs", faults=[wfsim.lose_reply("greet_slowly", attempts=1)])
    assert run.result()[0][:2] == ["value", "Hello at last, runs"]
    assert [one.workflow_id for one in run.workflow_histories] == ["slow-runs"]
