"""Listing, counting, and doing something to all workflows that a filter chooses."""

import asyncio

import pytest
import visibility_cases
import wfsim_temporal
from real_server import on_real_server
from schedule_cases import schedule
from temporalio.api.batch.v1 import BatchOperationSignal, BatchOperationTermination
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeBatchOperationRequest, StartBatchOperationRequest
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.testing import WorkflowEnvironment
from visibility_cases import COUNTS, FILTERS, Order
from wfsim_temporal import NotSimulated

OPTIONS = {"workflows": [Order], "task_queue": visibility_cases.QUEUE}


async def three_that_wait(client):
    for number in range(3):
        await client.start_workflow(
            Order.run, "wait" if number else "done", id=f"order-{number}", task_queue=visibility_cases.QUEUE
        )
    await asyncio.sleep(1)


def test_a_filter_is_answered_by_what_is_true_now(simulate):
    """A workflow leaves the list of the running ones in the moment in which it ends."""

    async def main(client):
        await three_that_wait(client)
        running = "WorkflowType = 'Order' AND ExecutionStatus = 'Running'"
        before = [one.id async for one in client.list_workflows(running)]
        await client.get_workflow_handle("order-1").terminate()
        return before, [one.id async for one in client.list_workflows(running, limit=5)]

    assert simulate(main, **OPTIONS).result() == (["order-2", "order-1"], ["order-2"])


def test_an_attribute_that_was_registered_is_known(simulate):
    """Else it is, as on a server, no search attribute, as long as no workflow has it."""

    async def main(client):
        told = [await visibility_cases.outcome(visibility_cases.listed(client, "Customer = 'ann'"))]
        request = AddSearchAttributesRequest(
            namespace="default", search_attributes={"Customer": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
        )
        await client.operator_service.add_search_attributes(request)
        return [*told, await visibility_cases.outcome(visibility_cases.listed(client, "Customer = 'ann'"))]

    refused = ("invalid query: invalid search attribute: Customer", "INVALID_ARGUMENT")
    assert simulate(main, **OPTIONS).result() == [refused, []]


def test_a_date_equals_itself_however_it_is_written(simulate):
    """Instants are compared; the real server's SQLite compares dates as text, and finds none."""

    async def main(client):
        await visibility_cases.play(client)
        same = ("2026-06-01T00:00:00Z", "2026-06-01T02:00:00.000+02:00")
        return [await visibility_cases.listed(client, f"Due = '{date}'") for date in same]

    assert simulate(main, **OPTIONS).result() == [["o1"], ["o1"]]


def test_an_attribute_that_the_environment_registers_is_known(simulate):
    """As with the real environment's ``search_attributes``."""

    async def main():
        keys = [SearchAttributeKey.for_keyword_list("Tags"), SearchAttributeKey.for_int("Num")]
        async with await WorkflowEnvironment.start_local(search_attributes=keys) as environment:
            return [
                one async for one in environment.client.list_workflows("Tags = 'red' OR Num BETWEEN 1 AND 3")
            ]

    assert simulate(main).result() == []


def test_schedules_are_listed_by_a_filter(simulate):
    """By their ids, by whether they are paused, by attributes of their own."""

    async def main(client):
        for id, customer in (("a", "ann"), ("b", "bob"), ("c", "ann")):
            held = TypedSearchAttributes(
                [SearchAttributePair(SearchAttributeKey.for_keyword("Customer"), customer)]
            )
            await client.create_schedule(id, schedule(id, 0, every=3600), search_attributes=held)
        await client.get_schedule_handle("c").pause()
        filters = ("Customer = 'ann'", "TemporalSchedulePaused = true", "ScheduleId != 'a'")
        return [[one.id async for one in await client.list_schedules(text)] for text in filters]

    assert simulate(main, **OPTIONS).result() == [["c", "a"], ["c"], ["c", "b"]]


def test_a_batch_reaches_all_that_a_filter_chooses(simulate):
    """Those that run; those that have ended are left alone."""

    async def main(client):
        await three_that_wait(client)
        request = StartBatchOperationRequest(
            namespace="default",
            job_id="clean-up",
            visibility_query="WorkflowType = 'Order'",
            reason="stop",
            termination_operation=BatchOperationTermination(),
        )
        await client.workflow_service.start_batch_operation(request)
        await asyncio.sleep(1)
        described = await client.workflow_service.describe_batch_operation(
            DescribeBatchOperationRequest(namespace="default", job_id="clean-up")
        )
        return described.total_operation_count, [
            (await client.get_workflow_handle(f"order-{number}").describe()).status.name
            for number in range(3)
        ]

    assert simulate(main, **OPTIONS).result() == (2, ["COMPLETED", "TERMINATED", "TERMINATED"])


def test_a_batch_signals(simulate):
    """The signal is in the history of each."""

    async def main(client):
        await three_that_wait(client)
        request = StartBatchOperationRequest(
            namespace="default",
            job_id="tell",
            visibility_query="ExecutionStatus = 'Running'",
            signal_operation=BatchOperationSignal(signal="wake up"),
        )
        await client.workflow_service.start_batch_operation(request)
        await asyncio.sleep(1)

    run = simulate(main, **OPTIONS)
    assert run.error is None
    assert "WORKFLOW_EXECUTION_SIGNALED" in run.events("order-1")
    assert "WORKFLOW_EXECUTION_SIGNALED" not in run.events("order-0")


def test_what_a_filter_cannot_know_is_refused(simulate):
    """The simulated server does not count transitions of state."""

    async def main(client):
        return [one async for one in client.list_workflows("StateTransitionCount > 3")]

    assert isinstance(simulate(main, **OPTIONS).error, NotSimulated)


# -- against the real server


@pytest.fixture(scope="module")
def simulated():
    run = wfsim_temporal.simulate(visibility_cases.play, **OPTIONS)
    run.check_replay()
    return run.result()


@pytest.fixture(scope="module")
def real():
    types = [f"{name}={kind}" for name, kind in visibility_cases.ATTRIBUTES.items()]
    arguments = [part for one in types for part in ("--search-attribute", one)]
    return on_real_server(
        visibility_cases.play, arguments=arguments, workflows=[Order], task_queue=visibility_cases.QUEUE
    )


@pytest.mark.parametrize("query", ["", *FILTERS])
def test_a_filter_lists_what_the_real_server_lists(simulated, real, query):
    """The same workflows in the same order, or the same words of refusal."""
    assert simulated[0][query] == real[0][query]


@pytest.mark.parametrize("query", ["", *COUNTS])
def test_a_filter_counts_what_the_real_server_counts(simulated, real, query):
    """In all, and by status."""
    assert simulated[1][query] == real[1][query]
