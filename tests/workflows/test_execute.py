"""One design, three ways to run it: awaited in real time, awaited in a simulation, and blocking."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from wfsim.errors import Deadlock, DesignError
from wfsim.kernel import Simulation, current, effect, sleep
from wfsim.nemesis import Rules, fail
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Saga, Task


async def wait():
    await asyncio.sleep(0.02)
    return "waited"


def block():
    time.sleep(0.02)
    effect("blocked", key=1)
    return "blocked"


def simulate(main):
    outcome = Simulation().run(main)
    if outcome.error:
        raise outcome.error
    return outcome.value


def saga():
    return Saga().add_step(forward=wait, read_only=True).add_step(forward=block)


def dag():
    return DAGWorkflow([Task("wait", run=wait), Task("block", run=block), Task("again", run=block)])


RESULTS = {"wait": "waited", "block": "blocked"}


@pytest.mark.parametrize(
    ("design", "value", "least"), [(saga(), RESULTS, 0.04), (dag(), {**RESULTS, "again": "blocked"}, 0.02)]
)
def test_a_design_runs_in_real_time_on_a_plain_loop(design, value, least):
    """On asyncio's own loop a design waits for real, with blocking functions in threads."""
    begin = time.perf_counter()
    assert asyncio.run(design.run()) == value
    assert time.perf_counter() - begin >= least * 0.9


def test_dag_runs_blocking_functions_in_parallel_in_real_time():
    """Three blocking functions that wait for each other all get past the barrier."""
    barrier = threading.Barrier(3, timeout=30)
    design = DAGWorkflow([Task(name, run=barrier.wait) for name in "abc"])
    assert sorted(asyncio.run(design.run()).values()) == [0, 1, 2]


def test_saga_compensates_in_real_time():
    """What was tested is what ships: failure, retry and the way back are the same on a plain loop."""
    log = []

    async def down():
        log.append("charge")
        raise ConnectionError("down")

    design = Saga().add_step(forward=wait, compensate=lambda: log.append("undo"))
    design.add_step(forward=down, retry=Retry(attempts=2, delay="1ms", jitter="full"))
    with pytest.raises(Exception, match="down failed 2 times"):
        asyncio.run(design.run())
    assert log == ["charge", "charge", "undo"]


@pytest.mark.parametrize("design", [saga(), dag()])
def test_execute_runs_in_virtual_time(design):
    """The blocking form needs no loop; inside it waits cost nothing; afterwards no simulation is left."""
    slow = (
        Saga()
        .add_step("slow", forward=lambda: sleep(86_400), read_only=True)
        .add_step("design", forward=lambda: design.run())
    )
    begin = time.perf_counter()
    assert slow.execute()["design"] == design.execute()
    assert time.perf_counter() - begin < 2
    assert current() is None


def test_execute_takes_faults_and_a_seed():
    """`nemesis` strikes in the simulation that execute makes; the error is raised as it is."""
    with pytest.raises(ConnectionError, match="down"):
        saga().execute(nemesis=Rules([fail("block", error=ConnectionError("down"))]))


def test_execute_raises_how_a_simulation_ended():
    """A design that never ends is no value: the deadlock is raised."""
    design = Saga().add_step("stuck", forward=lambda: asyncio.Event().wait())
    with pytest.raises(Deadlock, match=r"waits|waiting"):
        design.execute()


def test_execute_inside_blocking_code_of_a_simulation_runs_in_place():
    """Blocking code in a simulation can execute a design: it shares the clock and the history."""

    def main():
        time.sleep(1)
        value = saga().execute()
        return value, time.monotonic()

    simulation = Simulation()
    outcome = simulation.run(main)
    assert outcome.value[0] == RESULTS
    assert outcome.duration_ns == 1_040_000_000
    history = simulation.recorder.history()
    assert [op.time_ns for op in history.where(kind="saga")] == [1_000_000_000, 1_040_000_000]
    assert len(history.where(kind="effect")) == 1


def test_execute_inside_a_simulation_refuses_other_faults():
    """Faults belong to the simulation, not to a design inside it."""
    outcome = Simulation().run(lambda: saga().execute(nemesis=Rules()))
    assert isinstance(outcome.error, DesignError)
    assert "give the faults to the simulation" in str(outcome.error)


@pytest.mark.parametrize("simulated", [True, False])
def test_execute_in_a_coroutine_is_refused(simulated):
    """Blocking a loop from within is refused with the cure, on a virtual loop as on a real one."""

    async def main():
        dag().execute()

    with pytest.raises(DesignError, match=r"write: await dag\.run\(\)"):
        simulate(main) if simulated else asyncio.run(main())


def test_design_nested_in_a_design():
    """A step may run another design; its operations lie within the step's."""
    inner = Saga("inner").add_step("leaf", forward=lambda: sleep(1))
    outer = DAGWorkflow([Task("outer", run=lambda: inner.run())], name="whole")
    simulation = Simulation()
    assert simulation.run(outer.run).value == {"outer": {"leaf": None}}
    history = simulation.recorder.history()
    (leaf,) = history.where(type="invoke", name="leaf")
    chain = []
    while leaf is not None:
        chain.append(leaf.name)
        leaf = None if leaf.parent is None else history[leaf.parent]
    assert chain == ["leaf", "inner", "outer", "whole"]
