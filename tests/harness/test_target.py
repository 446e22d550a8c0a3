"""Targets: what runs a design, and how a design is taken for one."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.errors import DesignError
from wfsim.harness import (
    Description,
    DesignTarget,
    Experiment,
    Factory,
    FunctionTarget,
    Target,
    run,
    target_of,
)
from wfsim.workflows import DAGWorkflow, Saga


class Counter:
    """A design that remembers: how often it was run."""

    name = "counter"

    def __init__(self, first=1):
        self.next = first

    async def run(self):
        self.next += 1
        return self.next - 1


class Engine:
    """A target as an engine's plugin writes one."""

    def describe(self):
        return Description("flow", "engine", ("fetch", "store"))

    async def start(self):
        await asyncio.sleep(5)
        return {"server": "up"}

    async def drive(self, system, *args):
        await asyncio.sleep(1)
        return system["server"], args


async def greet(who="world"):
    return f"hello {who}"


def test_a_saga_describes_its_steps():
    """Name, kind and steps of a saga are read off it."""
    saga = (
        Saga("checkout").add_step("reserve", forward=greet, read_only=True).add_step("charge", forward=greet)
    )
    assert target_of(saga).describe() == Description("checkout", "saga", ("reserve", "charge"))


def test_a_dag_describes_its_tasks():
    """Name, kind and tasks of a DAG are read off it."""
    dag = DAGWorkflow(name="etl").add_task("load", func=lambda: None)
    assert target_of(dag).describe() == Description("etl", "dag", ("load",))


def test_a_function_is_known_by_its_name():
    """Nothing is known of a function's steps beforehand."""
    assert target_of(greet).describe() == Description("greet", "function", None)


def test_a_design_of_ones_own_has_no_known_steps():
    """An object with run() is a design; only its name and class are known."""
    assert target_of(Counter()).describe() == Description("counter", "counter", None)


def test_what_is_no_design_is_refused():
    """The message says what a design is."""
    with pytest.raises(DesignError, match="a design is a function, an object with a run method, or a Target"):
        target_of(42)


def test_the_kinds_of_target():
    """Each kind of design gets its target; a target is its own."""
    engine = Engine()
    assert isinstance(target_of(Counter()), DesignTarget)
    assert isinstance(target_of(greet), FunctionTarget)
    assert target_of(engine) is engine
    assert isinstance(engine, Target)


def test_a_plugin_target_is_started_once_and_driven_per_instance():
    """The world is built in the simulation, before the first instance arrives."""
    done = run(Experiment("engine", Engine())).run
    assert done.value == ("up", ())
    assert done.duration == 6.0
    assert done.history[0].process == "flow-1"


def test_a_shared_design_keeps_its_state_between_runs():
    """Why factories exist: an object that remembers makes the second run differ from the first."""
    experiment = Experiment("counter", Counter())
    assert [run(experiment).run.value for _ in range(2)] == [1, 2]


def test_a_factory_makes_a_fresh_design_for_each_run():
    """With a factory every run begins anew."""
    experiment = Experiment("counter", Factory(Counter, {"first": 10}))
    assert [run(experiment).run.value for _ in range(2)] == [10, 10]


def test_a_factory_may_make_a_function():
    """Whatever target_of takes may come from a factory."""
    assert run(Experiment("greet", Factory(lambda: greet))).run.value == "hello world"


def test_instances_of_one_run_share_the_design():
    """The two instances of one run meet in one world."""
    from wfsim.harness import Workload

    done = run(Experiment("counter", Factory(Counter), Workload(2))).run
    assert done.value == [1, 2]
