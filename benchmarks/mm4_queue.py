"""The work "mm4-queue": jobs that arrive at random wait in line for one of four servers (M/M/4)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import simpy
from loops import Runner, run_in_simulation, runners
from works import Figures, Work

from wfsim.capacity import Pool
from wfsim.kernel import current, sleep, spawn

SERVERS = 4
ARRIVALS_PER_S = 3.2
SERVED_PER_S = 1.0


def in_simpy(size: int, seed: int) -> Figures:
    """Generator processes and a Resource on the stock environment, by hand."""
    env = simpy.Environment()
    arrival, service = random.Random(seed).expovariate, random.Random(seed + 1).expovariate
    servers = simpy.Resource(env, SERVERS)
    waited_s = 0.0
    Process = Generator[simpy.Event, Any, None]

    def job() -> Process:
        nonlocal waited_s
        arrived = env.now
        with servers.request() as request:
            yield request
            waited_s += env.now - arrived
            yield env.timeout(service(SERVED_PER_S))

    def arrivals() -> Process:
        for _ in range(size):
            yield env.timeout(arrival(ARRIVALS_PER_S))
            env.process(job())

    env.process(arrivals())
    env.run()
    return {"jobs": size, "mean_wait_s": waited_s / size, "ended_s": env.now}


def in_wfsim(size: int, seed: int) -> Figures:
    """wfsim's own waits, tasks and pool."""
    arrival, service = random.Random(seed).expovariate, random.Random(seed + 1).expovariate
    servers, clock = Pool(SERVERS), None
    waited_s, served = 0.0, 0
    all_served = asyncio.Event()

    async def job() -> None:
        nonlocal waited_s, served
        arrived = clock.now
        async with servers:
            waited_s += clock.now - arrived
            await sleep(service(SERVED_PER_S))
        served += 1
        if served == size:
            all_served.set()

    async def arrivals() -> None:
        for _ in range(size):
            await sleep(arrival(ARRIVALS_PER_S))
            spawn(job())

    async def main() -> float:
        nonlocal clock
        clock = current().environment
        spawn(arrivals())
        await all_served.wait()
        return clock.now

    ended_s = run_in_simulation(main)
    return {"jobs": served, "mean_wait_s": waited_s / size, "ended_s": ended_s}


def in_asyncio(run: Runner, size: int, seed: int) -> Figures:
    """Plain asyncio, run by whoever has a virtual clock for it."""
    arrival, service = random.Random(seed).expovariate, random.Random(seed + 1).expovariate
    waited_s = 0.0

    async def main() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        servers = asyncio.Semaphore(SERVERS)

        async def job() -> None:
            nonlocal waited_s
            arrived = loop.time()
            async with servers:
                waited_s += loop.time() - arrived
                await asyncio.sleep(service(SERVED_PER_S))

        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                await asyncio.sleep(arrival(ARRIVALS_PER_S))
                group.create_task(job())
        return loop.time() - start

    ended_s = run(main)
    return {"jobs": size, "mean_wait_s": waited_s / size, "ended_s": ended_s}


def erlang_c_wait_s() -> float:
    """The mean wait in line of an M/M/c queue in the long run (A. K. Erlang, 1917)."""
    load = ARRIVALS_PER_S / SERVED_PER_S
    below, term = 0.0, 1.0
    for busy in range(SERVERS):
        below += term
        term *= load / (busy + 1)
    full = term / (1 - load / SERVERS)
    return full / (below + full) / (SERVERS * SERVED_PER_S - ARRIVALS_PER_S)


def check(figures: Figures) -> None:
    """The mean wait is near Erlang's: waits of neighbours are alike, so a sample tells little."""
    expected = erlang_c_wait_s()
    tolerance = 25 / figures["jobs"] ** 0.5
    wait = figures["mean_wait_s"]
    assert abs(wait / expected - 1) < tolerance, f"the mean wait is {wait}, Erlang C says {expected}"


def work() -> Work:
    """The work with all who can do it here."""
    contenders: dict[str, Callable[[int, int], Figures]] = {"simpy": in_simpy, "wfsim": in_wfsim}
    contenders |= {name: partial(in_asyncio, run) for name, run in runners().items()}
    about = f"jobs at {ARRIVALS_PER_S} a second wait for one of {SERVERS} servers that need {1 / SERVED_PER_S:g} s each"
    return Work("mm4-queue", about, 20_000, 2_000, contenders, check)
