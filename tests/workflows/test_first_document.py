"""Every Python block of the document that the project was created from, taken from a copy of it, not retyped.

A block that uses the framework's own interface runs after its imports are changed and nothing else; the functions
that it leaves to its reader are supplied. What belongs to other engines is listed, with the reason. A block that no
list knows fails.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wfsim

DOCUMENT = Path(__file__).with_name("first_document.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)

FOREIGN = {
    "from airflow import DAG": "Airflow's own interface",
    "from temporalio import workflow": "Temporal's own interface",
    "from prefect import flow, task": "Prefect's own interface",
    "from celery import chain, group": "Celery's own interface",
}


def play(block, **supplied):
    """Run a block in a namespace with wfsim's names and the reader's functions, and give the namespace."""
    log = []

    def told(name, result):
        def function(*args):
            log.append((name, *args))
            return result

        return function

    names = {
        name: getattr(wfsim, name) for name in ("DAGWorkflow", "StateMachine", "EventBus", "Event", "Saga")
    }
    names |= {name: told(name, result) for name, result in supplied.items()}
    exec(block.replace("from workflow_builder import", "from wfsim import"), names)
    return names, log


def first_workflow(block):
    names, log = play(block, fetch_api_data="data", process="result", save="saved")
    assert names["result"] == {"fetch_data": "data", "process": "result", "save": "saved"}
    assert log == [("fetch_api_data",), ("process", "data"), ("save", "result")]


def detects_cycles(block):
    names, _ = play(block)

    class Task:
        def __init__(self, *dependencies):
            self.dependencies = list(dependencies)

    a, b = Task(), Task()
    b.dependencies = [a]
    assert not names["detect_cycles"]([a, b])
    a.dependencies = [b]
    assert names["detect_cycles"]([a, b])


def event_store(block):
    names, _ = play(block)
    seen = []
    store = names["EventStore"]()
    store.notify_subscribers = seen.append
    late = type("Late", (), {"handle": lambda _self, event: seen.append(("late", event))})()
    store.publish("one")
    store.publish("two")
    store.replay(late, 1)
    assert seen == ["one", "two", ("late", "two")]


def orchestrator(block):
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


def dag(block):
    names, log = play(block, task_a=1, task_b=2, task_c=3, task_d=4)
    assert names["result"] == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert [name for name, *_ in log][0::3] == ["task_a", "task_d"]


def state_machine(block):
    names, log = play(block, can_start=True, cleanup=None, rollback=None)
    assert names["fsm"].state == "running"
    assert log == [("can_start",)]


def event_bus(block):
    _, log = play(block, on_task_complete=None, on_task_failed=None)
    assert [(name, event.payload) for name, event in log] == [("on_task_complete", {"task_id": "123"})]


def saga(block):
    _, log = play(block, charge_payment=1, refund_payment=None, reserve_inventory=2, release_inventory=None)
    assert log == [("charge_payment",), ("reserve_inventory",)]


def agents(block):
    workflow = play(block)[0]["workflow"]
    assert [(task.name, task.agent) for task in workflow.tasks] == [
        ("analyze", "code-analyzer"),
        ("refactor", "refactoring-lead"),
        ("test", "test-engineer"),
        ("review", "code-reviewer"),
    ]


def pipeline(block):
    names, log = play(block, rollback_deployment=None)
    machine = names["pipeline"]
    for state in ("building", "testing", "staging"):
        machine.trigger(state)
        assert machine.state == state
    machine.trigger("rollback")
    assert (machine.state, log) == ("rollback", [("rollback_deployment",)])


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


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if first_line(block) not in FOREIGN], ids=first_line
)
def test_it_runs_as_written(block):
    """After its imports are changed the block does what it says."""
    OURS[first_line(block)](block)
