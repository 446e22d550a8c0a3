"""Every Python block of the document that the project was created from, taken from a copy of it, not retyped.

A block that uses the framework's own interface runs after its imports are changed and nothing else; the functions
that it leaves to its reader are supplied. What belongs to other engines is listed, with the reason. A block that no
list knows fails.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import wfsim
from wfsim.errors import CycleError, DesignError

DOCUMENT = Path(__file__).with_name("first_document.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)

FOREIGN = {
    "from airflow import DAG": "Airflow's own interface",
    "from temporalio import workflow": "Temporal's own interface",
    "from prefect import flow, task": "Prefect's own interface",
    "from celery import chain, group": "Celery's own interface",
}


class Reader:
    """Who reads the document: supplies the functions that it names, plain or as coroutine functions.

    Each writes its name and its arguments in the log; then it gives its result, or raises it.
    """

    def __init__(self, coroutines):
        self.coroutines = coroutines

    def play(self, block, **supplied):
        """Run a block in a namespace with wfsim's names and the reader's functions; give that and the log."""
        log = []
        names = {
            name: getattr(wfsim, name)
            for name in ("DAGWorkflow", "StateMachine", "EventBus", "Event", "Saga")
        }
        names |= {name: self.function(name, result, log) for name, result in supplied.items()}
        names["log"] = log
        exec(block.replace("from workflow_builder import", "from wfsim import"), names)
        return names, log

    def function(self, name, result, log):
        def act(args):
            log.append((name, *args))
            if isinstance(result, Exception):
                raise result
            return result

        async def coroutine(*args):
            await asyncio.sleep(0)
            return act(args)

        def plain(*args):
            return act(args)

        return coroutine if self.coroutines else plain


def first_workflow(play, block):
    names, log = play(block, fetch_api_data="data", process="result", save="saved")
    assert names["result"] == {"fetch_data": "data", "process": "result", "save": "saved"}
    assert log == [("fetch_api_data",), ("process", "data"), ("save", "result")]


def detects_cycles(play, block):
    names, _ = play(block)

    class Task:
        def __init__(self, *dependencies):
            self.dependencies = list(dependencies)

    a, b = Task(), Task()
    b.dependencies = [a]
    assert not names["detect_cycles"]([a, b])
    a.dependencies = [b]
    assert names["detect_cycles"]([a, b])


def event_store(play, block):
    names, _ = play(block)
    seen = []
    store = names["EventStore"]()
    store.notify_subscribers = seen.append
    late = type("Late", (), {"handle": lambda _self, event: seen.append(("late", event))})()
    store.publish("one")
    store.publish("two")
    store.replay(late, 1)
    assert seen == ["one", "two", ("late", "two")]


def orchestrator(play, block):
    names, _ = play(block)
    log = []

    class Step:
        def __init__(self, name, error=None):
            self.name, self.error = name, error

        async def forward(self):
            log.append(self.name)
            if self.error:
                raise self.error

        async def compensate(self):
            log.append(f"undo {self.name}")

    steps = [Step("a"), Step("b"), Step("c", OSError("down"))]
    run = wfsim.simulate(names["SagaOrchestrator"]().execute, steps)
    assert isinstance(run.error, OSError)
    assert log == ["a", "b", "c", "undo b", "undo a"]
    ours = wfsim.Saga()
    for step in steps:
        ours.add_step(step.name, forward=step.forward, compensate=step.compensate)
    theirs, log[:] = list(log), []
    assert isinstance(wfsim.simulate(ours).error, OSError)
    assert log == theirs  # the document's orchestrator and the saga do the same, step by step


def dag(play, block):
    names, log = play(block, task_a=1, task_b=2, task_c=3, task_d=4)
    assert names["result"] == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert [name for name, *_ in log][0::3] == ["task_a", "task_d"]


def state_machine(play, block):
    names, log = play(block, can_start=False)
    assert (names["fsm"].state, log) == ("idle", [("can_start",)])
    for end, called in (("completed", "cleanup"), ("failed", "rollback")):
        names, log = play(block, can_start=True, cleanup=None, rollback=None)
        assert names["fsm"].state == "running"
        assert names["fsm"].trigger(end) is True
        assert (names["fsm"].state, log) == (end, [("can_start",), (called,)])


def event_bus(play, block):
    _, log = play(block, on_task_complete=None, on_task_failed=None)
    assert [(name, event.payload) for name, event in log] == [("on_task_complete", {"task_id": "123"})]


def saga(play, block):
    _, log = play(block, charge_payment=1, refund_payment=None, reserve_inventory=2, release_inventory=None)
    assert log == [("charge_payment",), ("reserve_inventory",)]


def saga_gives_back(play, block):
    saga = play(
        block.replace("saga.execute()", ""),
        charge_payment=1,
        refund_payment=None,
        reserve_inventory=LookupError("sold out"),
        release_inventory=None,
    )
    with pytest.raises(LookupError, match="sold out"):
        saga[0]["saga"].execute()
    assert saga[1] == [("charge_payment",), ("reserve_inventory",), ("refund_payment",)]


def agents(play, block):
    workflow = play(block)[0]["workflow"]
    with pytest.raises(DesignError, match="task 'analyze' of dag 'dag' needs agent 'code-analyzer'"):
        workflow.execute()
    named = {task.agent: lambda *results, name=task.name: (name, *results) for task in workflow.tasks}
    done = wfsim.DAGWorkflow(workflow.tasks, agents=named).execute()
    assert done["test"] == ("test", ("refactor", ("analyze",)))
    assert [(task.name, task.agent) for task in workflow.tasks] == [
        ("analyze", "code-analyzer"),
        ("refactor", "refactoring-lead"),
        ("test", "test-engineer"),
        ("review", "code-reviewer"),
    ]


def pipeline(play, block):
    names, log = play(block, rollback_deployment=None)
    machine = names["pipeline"]
    assert machine.trigger("testing") is False
    for state in ("building", "testing", "staging", "production"):
        assert machine.trigger(state) is True
        assert machine.state == state
    assert [machine.trigger("rollback"), machine.trigger("rollback")] == [True, False]
    assert (machine.state, log) == ("rollback", [("rollback_deployment",)])
    stepped = play(block, rollback_deployment=None)[0]["pipeline"]
    for _ in range(10):  # any event that names no state leads on to the next stage
        stepped.trigger("next")
    assert stepped.state == "production"


OURS = {
    "from workflow_builder import DAGWorkflow, Task": first_workflow,
    "def detect_cycles(tasks):": detects_cycles,
    "class EventStore:": event_store,
    "class SagaOrchestrator:": orchestrator,
    "# Build DAG": dag,
    "# Define FSM": state_machine,
    "# Setup event bus": event_bus,
    "# Define saga": saga,
    "# Multi-agent workflow": agents,
    "# Deployment pipeline": pipeline,
}


def first_line(block):
    return block.split("\n", 1)[0]


def test_every_block_is_known():
    """Each Python block of the document is one that runs, or one of another engine."""
    assert sorted(map(first_line, BLOCKS)) == sorted([*OURS, *FOREIGN])


@pytest.mark.parametrize("coroutines", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if first_line(block) not in FOREIGN], ids=first_line
)
def test_it_runs_as_written(block, coroutines):
    """After its imports are changed the block does what it says, whichever kind of function it is given."""
    OURS[first_line(block)](Reader(coroutines).play, block)


@pytest.mark.parametrize("coroutines", [False, True], ids=["plain", "coroutine"])
def test_its_saga_gives_the_payment_back(coroutines):
    """When there is nothing to reserve, what was charged is refunded."""
    block = next(block for block in BLOCKS if first_line(block) == "# Define saga")
    saga_gives_back(Reader(coroutines).play, block)


def test_its_circular_dependency_is_refused():
    """The first gotcha, A on B and B on A, is an error when it is built, not a deadlock when it runs."""
    with pytest.raises(CycleError, match="a -> b -> a"):
        wfsim.DAGWorkflow(
            [
                wfsim.Task("a", run=lambda _: 0, depends_on=["b"]),
                wfsim.Task("b", run=lambda _: 0, depends_on=["a"]),
            ]
        )
