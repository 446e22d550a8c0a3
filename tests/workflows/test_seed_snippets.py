"""The snippets that the project was created from run as written, with the user's functions supplied."""

# ruff: noqa: ARG005 - what a lambda takes and calls is what these tests are about

from __future__ import annotations

import asyncio
import time

import pytest

from wfsim.errors import CycleError, DesignError
from wfsim.kernel import Simulation
from wfsim.workflows import DAGWorkflow, Saga, Task

FIRST_WORKFLOW = """
from wfsim import DAGWorkflow, Task

# Define tasks
tasks = [
    Task("fetch_data", run=lambda: fetch_api_data()),
    Task("process", run=lambda data: process(data), depends_on=["fetch_data"]),
    Task("save", run=lambda result: save(result), depends_on=["process"])
]

# Build and execute DAG
workflow = DAGWorkflow(tasks)
result = workflow.execute()
"""

DAG = """
from wfsim import DAGWorkflow

# Build DAG
dag = DAGWorkflow()
dag.add_task("A", func=task_a)
dag.add_task("B", func=task_b, depends_on=["A"])
dag.add_task("C", func=task_c, depends_on=["A"])
dag.add_task("D", func=task_d, depends_on=["B", "C"])
result = dag.execute()
"""

SAGA = """
from wfsim import Saga

# Define saga
saga = Saga()
saga.add_step(
    forward=lambda: charge_payment(),
    compensate=lambda: refund_payment()
)
saga.add_step(
    forward=lambda: reserve_inventory(),
    compensate=lambda: release_inventory()
)
saga.execute()
"""

EVENTS = """
from wfsim import Event, EventBus

# Setup event bus
bus = EventBus()
bus.subscribe("task.completed", on_task_complete)
bus.subscribe("task.failed", on_task_failed)
bus.publish(Event("task.completed", {"task_id": "123"}))
"""

STORE = """
class EventStore:
    def __init__(self):
        self.events = []

    def publish(self, event):
        self.events.append(event)
        self.notify_subscribers(event)

    def replay(self, subscriber, from_position=0):
        for event in self.events[from_position:]:
            subscriber.handle(event)
"""

AGENTS = """
from wfsim import DAGWorkflow

# Multi-agent workflow
workflow = DAGWorkflow()
workflow.add_task("analyze", agent="code-analyzer")
workflow.add_task("refactor", agent="refactoring-lead", depends_on=["analyze"])
workflow.add_task("test", agent="test-engineer", depends_on=["refactor"])
workflow.add_task("review", agent="code-reviewer", depends_on=["test"])
"""

ORCHESTRATOR = """
class SagaOrchestrator:
    def __init__(self):
        self.executed_steps = []

    async def execute(self, steps):
        try:
            for step in steps:
                await step.forward()
                self.executed_steps.append(step)
        except Exception:
            # Compensate in REVERSE order
            for step in reversed(self.executed_steps):
                await step.compensate()
            raise
"""


class Functions(dict):
    """The user's functions: each writes its name down, then does as told.

    Plain, or as coroutine functions.
    """

    def __init__(self, coroutines, **results):
        super().__init__()
        self.log = []
        for name, result in results.items():
            self[name] = self.coroutine(name, result) if coroutines else self.plain(name, result)

    def act(self, name, result, args):
        self.log.append((name, *args))
        if isinstance(result, Exception):
            raise result
        return result

    def plain(self, name, result):
        def function(*args):
            time.sleep(60)
            return self.act(name, result, args)

        return function

    def coroutine(self, name, result):
        async def function(*args):
            await asyncio.sleep(60)
            return self.act(name, result, args)

        return function


both = pytest.mark.parametrize("coroutines", [False, True])


@both
def test_first_workflow(coroutines):
    """Fetch, process, save: each task is given the result of the one before."""
    user = Functions(coroutines, fetch_api_data="raw", process="clean", save="id-1")
    exec(FIRST_WORKFLOW, user)
    assert user["result"] == {"fetch_data": "raw", "process": "clean", "save": "id-1"}
    assert user.log == [("fetch_api_data",), ("process", "raw"), ("save", "clean")]


@both
def test_dag_reference_card(coroutines):
    """A diamond: B and C after A, D after both and given their results."""
    user = Functions(coroutines, task_a=1, task_b=2, task_c=3, task_d=4)
    exec(DAG, user)
    assert user["result"] == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert user.log[0] == ("task_a",)
    assert user.log[-1] == ("task_d", 2, 3)
    assert sorted(user.log[1:3]) == [("task_b", 1), ("task_c", 1)]


@both
def test_saga_reference_card(coroutines):
    """Both steps run in order; their names are those of the functions that the lambdas call."""
    user = Functions(coroutines, charge_payment=1, refund_payment=2, reserve_inventory=3, release_inventory=4)
    exec(SAGA, user)
    assert user.log == [("charge_payment",), ("reserve_inventory",)]
    assert [step.name for step in user["saga"].steps] == ["charge_payment", "reserve_inventory"]


@both
def test_saga_reference_card_when_a_step_fails(coroutines):
    """The payment is given back when there is nothing to reserve."""
    empty = LookupError("sold out")
    user = Functions(
        coroutines, charge_payment=1, refund_payment=2, reserve_inventory=empty, release_inventory=4
    )
    with pytest.raises(LookupError, match="sold out"):
        exec(SAGA, user)
    assert user.log == [("charge_payment",), ("reserve_inventory",), ("refund_payment",)]


def test_multi_agent_workflow():
    """The workflow can be drawn without its agents; given them, it runs in order.

    Without one, the error names it.
    """
    user = {}
    exec(AGENTS, user)
    drawn = user["workflow"]
    assert [task.agent for task in drawn.tasks] == [
        "code-analyzer",
        "refactoring-lead",
        "test-engineer",
        "code-reviewer",
    ]
    with pytest.raises(DesignError, match="task 'analyze' of dag 'dag' needs agent 'code-analyzer'"):
        drawn.execute()
    agents = {task.agent: lambda *results, name=task.name: (name, *results) for task in drawn.tasks}
    assert DAGWorkflow(drawn.tasks, agents=agents).execute()["test"] == ("test", ("refactor", ("analyze",)))


def test_circular_dependency_is_refused_before_execution():
    """Gotcha 1: A depends on B, B on A: refused when it is built, not a deadlock when it runs."""
    with pytest.raises(CycleError, match="a -> b -> a"):
        DAGWorkflow([Task("a", run=lambda: 0, depends_on=["b"]), Task("b", run=lambda: 0, depends_on=["a"])])


def test_compensation_order_is_that_of_the_textbook():
    """Gotcha 3: the document's orchestrator and the saga do the same, step by step."""
    logs = []
    for orchestrate in (lambda saga, cls: cls().execute(saga.steps), lambda saga, cls: saga.run()):
        user = Functions(True, a=1, b=2, c=OSError("down"), undo_a=1, undo_b=2, undo_c=3)
        saga = Saga()
        for name in "abc":
            saga.add_step(forward=user[name], compensate=user[f"undo_{name}"])
        exec(ORCHESTRATOR, user)
        assert isinstance(Simulation().run(orchestrate, saga, user["SagaOrchestrator"]).error, OSError)
        logs.append(user.log)
    assert logs[0] == logs[1] == [("a",), ("b",), ("c",), ("undo_b",), ("undo_a",)]


def test_the_event_bus_runs():
    """Published where no loop runs, the event has reached its handler when ``publish`` returns."""
    completed, failed = [], []
    exec(EVENTS, {"on_task_complete": completed.append, "on_task_failed": failed.append})
    assert [event.payload for event in completed] == [{"task_id": "123"}]
    assert failed == []


def test_the_event_store_has_a_plain_meaning():
    """The snippet's own store and wfsim's give a subscriber the same events, live and replayed."""
    from wfsim import Event, EventStore

    class Subscriber:
        def __init__(self):
            self.seen = []

        def handle(self, event):
            self.seen.append(event.payload)

    names = {}
    exec(STORE, names)
    first, second = Subscriber(), Subscriber()
    names["EventStore"].notify_subscribers = lambda _store, event: first.handle(event)
    ours = EventStore()
    ours.subscribe(second)
    for store, subscriber in ((names["EventStore"](), first), (ours, second)):
        for number in range(3):
            store.publish(Event("task.completed", number))
        store.replay(subscriber, from_position=1)
    assert first.seen == second.seen == [0, 1, 2, 1, 2]
