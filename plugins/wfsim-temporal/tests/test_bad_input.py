"""What cannot be run is told in one message that names it: before the run where it can be seen, else by its error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue
from temporalio.service import RPCError
from wfsim_temporal import ActivityStuck, HistoryLimits, Settings, WorkflowTaskStuck, crash_points

import wfsim
from wfsim.errors import Deadlock, DesignError

SECONDS_5 = {"start_to_close_timeout": timedelta(seconds=5)}


@activity.defn
async def charge(order: str, cents: int) -> str:
    return f"{order}: {cents}"


@workflow.defn
class Order:
    @workflow.run
    async def run(self, order: str) -> str:
        return await workflow.execute_activity(charge, args=[order, 5], **SECONDS_5)


@workflow.defn(dynamic=True)
class Anything:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None:
        """Do nothing."""


class Undecorated:
    async def run(self) -> None:
        """Do nothing."""


async def main(client) -> None:
    """Do nothing."""


async def alone() -> int:
    return 1


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda run: run(Order, "a", activities=charge), r"activities=charge must be a list: activities=\[charge\]"),
        (lambda run: run(main, workflows=Order), r"workflows=Order must be a list: workflows=\[Order\]"),
        (lambda run: run(main, workflows="Order"), "workflows='Order' must be a list"),
        (lambda run: run(Order.run, "a", activities=[charge]), r"simulate\(Order, ...\), not Order.run"),
        (lambda run: run(Order(), "a", activities=[charge]), "not an instance of Order"),
        (lambda run: run(Undecorated), "Undecorated is no workflow; decorate it with @workflow.defn"),
        (lambda run: run(Order), r"Order.run cannot be called with \[\]: missing a required argument: 'order'"),
        (lambda run: run(Order, "a", 1), r"Order.run cannot be called with \['a', 1\]: too many positional arguments"),
        (lambda run: run("Order"), "'Order' cannot be run; simulate a class with @workflow.defn, or"),
        (lambda run: run(alone, workflows=[Order]), "alone is called with a client and args, because workflows"),
        (lambda run: run(main), "main is called with args alone; it gets a client if workflows or activities"),
        (lambda run: run(partial(main, 1), 2), "main is called with args alone"),
        (lambda run: run(Order, "a", workers=0), "workers=0 must be a whole number of 1 or more"),
        (lambda run: run(Order, "a", settings={"sandbox": True}), "must be Settings, such as Settings"),
        (lambda run: run(alone).events("order-1"), "no workflow 'order-1' in this run; there are none"),
        (lambda _: crash_points(wfsim.simulate(alone)), "a Run has no crash points; give what wfsim_temporal"),
        (lambda _: Settings(latency_ns=-5), "latency_ns=-5 of Settings must be a whole number of 0 or more"),
        (lambda _: Settings(task_attempts=0), "task_attempts=0 of Settings must be a whole number of 1 or more"),
        (lambda _: HistoryLimits(max_events=0), "max_events=0 of HistoryLimits must be a whole number of 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_at_once(call, told):
    """In one message that says what would be right."""
    with pytest.raises(DesignError, match=told):
        call(wfsim_temporal.simulate)


@pytest.mark.parametrize(
    ("main", "told"),
    [
        (Anything, "Anything is a dynamic workflow, which has no name of its own"),
        (lambda _client: 1, "<lambda> is a plain function, and what a client does is awaited"),
    ],
)
def test_what_shows_only_in_the_run_is_its_error(simulate, main, told):
    """As a DesignError too."""
    run = simulate(main, workflows=[Anything])
    assert isinstance(run.error, DesignError)
    assert told in str(run.error)


class Nothing:
    """No converter knows it."""


@workflow.defn
class Mistaken:
    @workflow.run
    async def run(self, how: str) -> object:
        if how == "name":
            return await workflow.execute_activity("chrage", **SECONDS_5)
        if how == "type":
            return await workflow.execute_activity(charge, args=["a", "five"], **SECONDS_5)
        if how == "count":
            return await workflow.execute_activity(charge, "a", **SECONDS_5)
        if how == "no timeout":
            return await workflow.execute_activity(charge, args=["a", 5])
        return Nothing()


@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [
        ("name", ActivityStuck, "chrage for workflow Mistaken is not registered on this worker, available activit"),
        ("type", ActivityStuck, "caused by TypeError: Expected value to be int|float, was <class 'str'>"),
        ("count", ActivityStuck, "charge() missing 1 required positional argument: 'cents'"),
        ("no timeout", WorkflowTaskStuck, "must have start_to_close_timeout or schedule_to_close_timeout"),
        ("result", WorkflowTaskStuck, "Object of type Nothing is not JSON serializable"),
    ],
)  # fmt: skip
def test_mistakes_of_a_workflow_are_told_with_their_cause(simulate, how, kind, told):
    """A server would try for ever, and keep the cause of a failure in its cause."""
    run = simulate(Mistaken, how, activities=[charge])
    assert isinstance(run.error, kind)
    assert told in str(run.error)


def test_an_argument_of_the_wrong_type_is_told(simulate):
    """That no converter could make it is the cause of the task's failure."""
    run = simulate(Order, 5, activities=[charge])
    assert "caused by TypeError: Expected value to be str, was <class 'int'>" in str(run.error)


@workflow.defn
class HasNoChild:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_child_workflow("Nobody", id="child")


def test_a_child_that_nobody_knows_is_told(simulate):
    """Its parent waits for ever; the child says why."""
    run = simulate(HasNoChild)
    assert isinstance(run.error, Deadlock)
    told = "".join(run.error.__notes__)
    assert "HasNoChild 'HasNoChild' waits at test_bad_input.py:" in told
    assert "Nobody 'child' gets nowhere:" in told
    assert "Workflow class Nobody is not registered on this worker, available workflows: HasNoChild" in told


@dataclass
class Held:
    token: bytes = b""


HELD = Held()


@activity.defn
async def later() -> str:
    HELD.token = activity.info().task_token
    activity.raise_complete_async()


@workflow.defn
class Waits:
    def __init__(self) -> None:
        self.is_over = False

    @workflow.signal
    def end(self) -> None:
        self.is_over = True

    @workflow.run
    async def run(self) -> str:
        told = await workflow.execute_activity(
            later, start_to_close_timeout=timedelta(hours=1), activity_id="ask"
        )
        await workflow.wait_condition(lambda: self.is_over)
        return told


async def completes_too_often(client) -> list[str]:
    handle = await client.start_workflow(Waits.run, id="waits", task_queue="wfsim")
    while not HELD.token:
        await asyncio.sleep(0.1)
    by_token = client.get_async_activity_handle(task_token=HELD.token)
    by_id = client.get_async_activity_handle(workflow_id="waits", run_id=None, activity_id="ask")
    HELD.token = b""
    await by_token.complete("because")
    told = [await refusal(one) for one in (by_token, by_id)]
    await handle.signal(Waits.end)
    assert await handle.result() == "because"
    told += [await refusal(one) for one in (by_token, by_id)]
    of_nobody = client.get_async_activity_handle(workflow_id="nobody", run_id=None, activity_id="ask")
    return [*told, await refusal(of_nobody)]


async def refusal(handle) -> str:
    try:
        await handle.complete("again")
    except (RPCError, WorkflowFailureError) as error:
        return str(error)
    return ""


def test_an_activity_that_is_completed_too_often_is_told_in_the_servers_words(simulate):
    """A real server (1.32.0) was asked the same."""
    assert simulate(completes_too_often, workflows=[Waits], activities=[later]).result() == [
        "invalid activityID or activity already timed out or invoking workflow is completed",
        "cannot find pending activity with ActivityID ask, check workflow execution history for more details",
        "workflow execution already completed",
        "workflow execution already completed",
        "workflow not found for ID: nobody",
    ]
