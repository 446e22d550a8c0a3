"""The work "recorded-dag": DAGs of 1,000 tasks in ten layers on sixteen slots.

wfsim runs its own `DAGWorkflow` and writes the whole history; the SimPy model, written by hand for this one shape,
writes nothing. The shapes are drawn once for all. Apart from that everything counts: `wfsim` draws the DAG up anew for
each run, as the SimPy model makes its processes; `wfsim-again` runs one that has been drawn up before, as in a
search over many runs of one design.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from functools import cache
from typing import Any

import simpy
from works import Figures, Work

from wfsim.kernel import Simulation, sleep
from wfsim.workflows import DAGWorkflow, Task

LAYERS = 10
WIDTH = 100
NEEDS = 3
SLOTS = 16

Shape = tuple[list[list[int]], list[float]]


@cache
def shape(seed: int) -> Shape:
    """What each task depends on, and how long it takes: exponentially, a second on average."""
    chance = random.Random(seed)
    needs: list[list[int]] = []
    took_s: list[float] = []
    for layer in range(LAYERS):
        for _ in range(WIDTH):
            before = (layer - 1) * WIDTH
            needs.append([before + one for one in chance.sample(range(WIDTH), NEEDS)] if layer else [])
            took_s.append(chance.expovariate(1.0))
    return needs, took_s


def in_simpy(size: int, seed: int) -> Figures:
    """Generator processes on the stock environment, by hand."""
    total_s = 0.0
    Process = Generator[simpy.Event, Any, None]
    for run in range(size):
        needs, took_s = shape(seed + run)
        env = simpy.Environment()
        slots = simpy.Resource(env, SLOTS)
        processes: list[simpy.Process] = []

        def task(
            number: int,
            env: simpy.Environment = env,
            slots: simpy.Resource = slots,
            processes: list[simpy.Process] = processes,
            needs: list[list[int]] = needs,
            took_s: list[float] = took_s,
        ) -> Process:
            if needs[number]:
                yield env.all_of([processes[one] for one in needs[number]])
            with slots.request() as slot:
                yield slot
                yield env.timeout(took_s[number])

        for number in range(len(needs)):
            processes.append(env.process(task(number)))
        env.run()
        total_s += env.now
    return {"tasks": size * LAYERS * WIDTH, "took_s": total_s}


def draw_up(seed: int) -> DAGWorkflow:
    """The same as a DAG: each task waits its time."""
    needs, took_s = shape(seed)
    names = [f"t{number}" for number in range(len(needs))]

    def work_of(seconds: float) -> Any:
        async def work() -> None:
            await sleep(seconds)

        return work

    tasks = [
        Task(name, work_of(seconds), [names[one] for one in before])
        for name, seconds, before in zip(names, took_s, needs, strict=True)
    ]
    return DAGWorkflow(tasks, max_parallel=SLOTS)


drawn_up = cache(draw_up)


def in_wfsim(size: int, seed: int) -> Figures:
    """Drawn up, run and recorded."""
    return _run([draw_up(seed + run) for run in range(size)])


def in_wfsim_again(size: int, seed: int) -> Figures:
    """Run and recorded."""
    return _run([drawn_up(seed + run) for run in range(size)])


def _run(dags: list[DAGWorkflow]) -> Figures:
    total_s, ended = 0.0, 0
    for dag in dags:
        simulation = Simulation()
        outcome = simulation.run(dag.run)
        if outcome.error is not None:
            raise outcome.error
        ended += len(outcome.value)
        total_s += outcome.duration_ns / 1e9
    return {"tasks": ended, "took_s": total_s}


def check(figures: Figures) -> None:
    """A run takes a little longer than all its work divided by the slots."""
    runs = figures["tasks"] / (LAYERS * WIDTH)
    least_s = figures["tasks"] / SLOTS
    assert 0.9 < figures["took_s"] / least_s < 1.2, f"{runs} runs took {figures['took_s']} s in all"


def work() -> Work:
    """The work with all who can do it here."""
    about = f"recorded DAGs of {LAYERS * WIDTH:,} tasks that depend on {NEEDS} others each, on {SLOTS} slots"
    contenders = {"simpy": in_simpy, "wfsim": in_wfsim, "wfsim-again": in_wfsim_again}
    return Work("recorded-dag", about, 10, 3, contenders, check)
