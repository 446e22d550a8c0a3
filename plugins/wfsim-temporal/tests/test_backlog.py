"""Backlogs, workers that are away, signals that come twice, and histories that grow too long."""

import asyncio
from datetime import timedelta

import pytest
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, TerminatedError
from temporalio.exceptions import TimeoutError as TemporalTimeout
from temporalio.service import RPCError
from temporalio.worker import Worker
from wfsim_temporal import HistoryLimits, Settings, away, backlog, duplicate_signal, history_within_limits

import wfsim
from wfsim.errors import DesignError
from wfsim.harness import run_all
from wfsim.scenario import load_text


@activity.defn
async def pay(order: str) -> float:
    wfsim.effect("paid", order)
    return wfsim.now()


@activity.defn
async def ship(order: str) -> float:
    return wfsim.now()


@workflow.defn
class Order:
    @workflow.run
    async def run(self, order: str, wait: float) -> list[float]:
        options = {
            "schedule_to_start_timeout": timedelta(seconds=wait),
            "start_to_close_timeout": timedelta(seconds=10),
        }
        paid = await workflow.execute_activity(pay, order, task_queue="payments", **options)
        return [paid, await workflow.execute_activity(ship, order, **options)]


async def order(wait=60.0):
    client = await Client.connect("localhost:7233")
    async with (
        Worker(client, task_queue="orders", workflows=[Order], activities=[ship]),
        Worker(client, task_queue="payments", activities=[pay]),
    ):
        return await client.execute_workflow(Order.run, args=["7", wait], id="o", task_queue="orders")


def test_tasks_wait_in_a_backlog(simulate):
    """Those of the queue that the rule names; time passes before a worker sees them, and nothing else happens."""
    assert [round(at) for at in simulate(order).result()] == [0, 0]
    run = simulate(order, faults=[backlog("payments", "30s")])
    assert [round(at) for at in run.result()] == [30, 30]
    run = simulate(order, faults=[backlog("orders", "7s", of="ship"), backlog("payments", "30s", tasks=2)])
    assert [round(at) for at in run.result()] == [0, 7]


def test_workflow_tasks_wait_too(simulate):
    """A backlog of the workflow's queue holds up its workflow tasks."""
    run = simulate(order, faults=[backlog("orders", "4s", of="Order")])
    assert [round(at) for at in run.result()] == [4, 8]


def test_who_waits_too_long_is_timed_out(simulate):
    """The schedule-to-start timeout strikes while a task waits; it is not retried."""
    run = simulate(order, 20.0, faults=[backlog("payments", "30s")])
    assert isinstance(run.error, WorkflowFailureError)
    assert isinstance(run.error.cause, ActivityError)
    assert isinstance(run.error.cause.cause, TemporalTimeout)
    assert run.error.cause.cause.type.name == "SCHEDULE_TO_START"
    assert [op.name for op in run.history.where(kind="effect")] == []


def test_workers_are_away_for_a_while(simulate):
    """Their tasks wait until they are back; others go on."""
    run = simulate(order, 600.0, faults=[away("payments", back_at="5m")])
    assert [round(at) for at in run.result()] == [300, 300]
    assert [
        round(at) for at in simulate(order, faults=[away("payments", after="1m", back_at="5m")]).result()
    ] == [0, 0]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: backlog("q", "-1s"), "by of a backlog"),
        (lambda: away("q", after="5m", back_at="1m"), "can never strike"),
        (lambda: wfsim_temporal.Backlog.from_dict({"kind": "backlog", "for": "1s"}), "no option 'for'"),
        (lambda: wfsim_temporal.Away.from_dict({"kind": "away"}), "needs back_at"),
    ],
)
def test_wrong_rules_are_told(rule, message):
    """When they are made, with what is wrong."""
    with pytest.raises(DesignError, match=message):
        rule()


def test_a_rule_is_data():
    """It is saved and read back."""
    for rule in (backlog("payments", 30, of="pay"), away("payments", back_at="5m"), duplicate_signal("add")):
        data = rule.describe()
        again = {"backlog": wfsim_temporal.Backlog, "away": wfsim_temporal.Away}.get(data["fault"]["kind"])
        if again is not None:
            assert again.from_dict(data["fault"]) == rule.fault


# -- signals


@workflow.defn
class Basket:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.is_done = False

    @workflow.run
    async def run(self) -> list[str]:
        await workflow.wait_condition(lambda: self.is_done)
        return self.items

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.signal
    def finish(self) -> None:
        self.is_done = True


@workflow.defn
class Shopper:
    @workflow.run
    async def run(self) -> None:
        basket = workflow.get_external_workflow_handle_for(Basket.run, "b")
        await basket.signal(Basket.add, "plum")


async def shop(client):
    here = {"task_queue": "wfsim"}
    basket = await client.start_workflow(
        Basket.run, id="b", start_signal="add", start_signal_args=["apple"], **here
    )
    await basket.signal(Basket.add, "pear")
    await client.execute_workflow(Shopper.run, id="s", **here)
    await basket.signal(Basket.finish)
    return await basket.result()


def test_a_signal_comes_twice(simulate):
    """From a client, with the start, or from another workflow; the others come once."""
    both = {"workflows": [Basket, Shopper]}
    assert simulate(shop, **both).result() == ["apple", "pear", "plum"]
    run = simulate(shop, **both, faults=[duplicate_signal("add")])
    assert run.result() == ["apple", "apple", "pear", "pear", "plum", "plum"]
    run = simulate(shop, **both, faults=[duplicate_signal("add", copies=2, count=1)])
    assert run.result() == ["apple", "apple", "apple", "pear", "plum"]


SCENARIO = """
name: faults of queues and signals
design:
  target:
    temporal:
      workflow: test_backlog:Counts
      activities: [test_backlog:pay]
      history: {warn_events: 8}
faults:
  - backlog: {by: 30s}
    at: {step: wfsim, design: pay}
  - away: {back_at: 2m}
    at: {step: wfsim, design: pay, before: 2m}
  - duplicate:
    at: {step: add, on: signal}
expect:
  holds:
    - op_count: {kind: signal, name: add, exactly: 2}
    - completes_within: 3m
  breaks: [history_within_limits]
"""


@workflow.defn
class Counts:
    def __init__(self) -> None:
        self.count = 0

    @workflow.run
    async def run(self) -> int:
        me = workflow.get_external_workflow_handle(workflow.info().workflow_id)
        await me.signal("add")
        await workflow.execute_activity(pay, "7", start_to_close_timeout=timedelta(seconds=10))
        return self.count

    @workflow.signal
    def add(self) -> None:
        self.count += 1


def test_a_scenario_file_has_these_faults():
    """By their names, with their places; so has it the checker and the limits."""
    result = run_all(load_text(SCENARIO))
    assert result.passed, result.expectations
    assert result.unmatched == ()


def test_a_misspelt_limit_is_told():
    """With the names that there are."""
    with pytest.raises(Exception, match="no limit 'warn'"):
        load_text(SCENARIO.replace("warn_events", "warn"))


# -- limits of histories


@workflow.defn
class Ticks:
    """Sleeps again and again; continues as new when that is suggested, if it may."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    @workflow.run
    async def run(self, times: int, renews: bool) -> list[int]:
        for _ in range(times):
            await workflow.sleep(1)
            if workflow.info().is_continue_as_new_suggested():
                self.seen.append(workflow.info().get_current_history_length())
                if renews:
                    return self.seen
        return self.seen

    @workflow.signal
    def note(self, text: str) -> None:
        pass


@pytest.mark.parametrize(("limit", "first"), [(18, 18), (19, 23), (20, 23)])
def test_to_continue_as_new_is_suggested(simulate, limit, first):
    """From the workflow task on whose start is that event, as with the real server (1.32)."""
    run = simulate(Ticks, 10, True, settings=Settings(suggest_continue_as_new_at=limit))
    assert run.result() == [first]


def test_a_history_that_is_too_long_ends_its_run(simulate):
    """What would exceed the limit is not written; the server terminates the run, as the real one (1.32) does."""
    run = simulate(Ticks, 100, False, settings=Settings(history=HistoryLimits(max_events=40, warn_events=30)))
    assert isinstance(run.error.cause, TerminatedError)
    assert str(run.error.cause) == "Workflow history count exceeds limit."
    assert len(run.events("Ticks")) == 41
    assert run.events("Ticks")[-2:] == ["TIMER_STARTED", "WORKFLOW_EXECUTION_TERMINATED"]
    facts = [(op.name, op.data["events"]) for op in run.history.where(kind="history_limit")]
    assert facts == [("warned", 32), ("exceeded", 42)]
    [verdict] = run.check(history_within_limits)
    assert verdict.valid is False
    assert "has 32 events" in verdict.message


def test_a_history_that_is_too_big_ends_its_run(simulate):
    """The signal that finds it so is refused with INVALID_ARGUMENT."""

    async def main(client):
        queue = "nobody"  # no task begins that would find it first
        handle = await client.start_workflow(Ticks.run, args=[100, False], id="t", task_queue=queue)
        for number in range(10):
            try:
                await handle.signal(Ticks.note, "x" * 20_000)
            except RPCError as error:
                return number, error.status.name, str(error)
        return None

    settings = Settings(history=HistoryLimits(max_bytes=60_000, warn_bytes=50_000))
    run = simulate(main, workflows=[Ticks], settings=settings)
    assert run.result() == (3, "INVALID_ARGUMENT", "Workflow history size exceeds limit.")


@workflow.defn
class Many:
    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(*[workflow.sleep(5) for _ in range(50)])


def test_a_task_under_way_fails_when_the_server_ends_the_run():
    """Its completion would be too much: the server fails it and terminates the run."""
    run = wfsim_temporal.simulate(Many, settings=Settings(history=HistoryLimits(max_events=40)))
    assert run.events("Many")[-2:] == ["WORKFLOW_TASK_FAILED", "WORKFLOW_EXECUTION_TERMINATED"]


def test_an_ordinary_history_is_within_limits(simulate):
    """The checker finds that all is well; where nothing ran it cannot tell."""
    run = simulate(Ticks, 10, False)
    assert run.check(history_within_limits)[0].valid is True

    async def nothing(client):
        return client.namespace

    assert simulate(nothing, workflows=[Ticks]).check(history_within_limits)[0].valid == "unknown"
