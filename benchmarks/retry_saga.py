"""The work "retry-saga": sagas that arrive over time, whose steps fail, are retried with backoff and compensated."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import simpy
from loops import Runner, run_in_simulation, runners
from works import Figures, Work

from wfsim.kernel import now, sleep, spawn

STEPS = 5
FAILURE_RATE = 0.1
RETRIES = 3
BACKOFF_S = 0.1
ARRIVALS_PER_S = 20.0


class StepFailed(Exception):
    """A step's error, which its saga retries."""


class Score:
    """What is counted on the way."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.compensated = 0
        self.calls = 0

    def figures(self, ended_s: float) -> Figures:
        return {
            "succeeded": self.succeeded,
            "compensated": self.compensated,
            "calls": self.calls,
            "ended_s": ended_s,
        }


def in_simpy(size: int, seed: int) -> Figures:
    """Generator processes on the stock environment, by hand."""
    env = simpy.Environment()
    chance = random.Random(seed)
    expovariate, uniform = chance.expovariate, chance.random
    score = Score()
    Process = Generator[simpy.Event, Any, None]

    def call() -> Process:
        score.calls += 1
        yield env.timeout(expovariate(1.0))
        if uniform() < FAILURE_RATE:
            raise StepFailed

    def step() -> Process:
        for attempt in range(RETRIES + 1):
            try:
                yield from call()
                return
            except StepFailed:
                if attempt == RETRIES:
                    raise
                score.calls += 1
                yield env.timeout(BACKOFF_S * 2**attempt)

    def saga() -> Process:
        done = []
        try:
            for number in range(STEPS):
                yield from step()
                done.append(number)
            score.succeeded += 1
        except StepFailed:
            for _number in reversed(done):
                score.calls += 1
                yield env.timeout(expovariate(1.0))
            score.compensated += 1

    def arrivals() -> Process:
        for _ in range(size):
            yield env.timeout(expovariate(ARRIVALS_PER_S))
            env.process(saga())

    env.process(arrivals())
    env.run()
    return score.figures(env.now)


def in_wfsim(size: int, seed: int) -> Figures:
    """wfsim's own waits and tasks."""
    chance = random.Random(seed)
    expovariate, uniform = chance.expovariate, chance.random
    score = Score()

    async def call() -> None:
        score.calls += 1
        await sleep(expovariate(1.0))
        if uniform() < FAILURE_RATE:
            raise StepFailed

    async def step() -> None:
        for attempt in range(RETRIES + 1):
            try:
                await call()
                return
            except StepFailed:
                if attempt == RETRIES:
                    raise
                score.calls += 1
                await sleep(BACKOFF_S * 2**attempt)

    async def saga() -> None:
        done = []
        try:
            for number in range(STEPS):
                await step()
                done.append(number)
            score.succeeded += 1
        except StepFailed:
            for _number in reversed(done):
                score.calls += 1
                await sleep(expovariate(1.0))
            score.compensated += 1
        if score.succeeded + score.compensated == size:
            all_ended.set()

    async def arrivals() -> None:
        for _ in range(size):
            await sleep(expovariate(ARRIVALS_PER_S))
            spawn(saga())

    all_ended = asyncio.Event()

    async def main() -> float:
        spawn(arrivals())
        await all_ended.wait()
        return now()

    return score.figures(run_in_simulation(main))


def in_asyncio(run: Runner, size: int, seed: int) -> Figures:
    """Plain asyncio, run by whoever has a virtual clock for it."""
    chance = random.Random(seed)
    expovariate, uniform = chance.expovariate, chance.random
    score = Score()

    async def call() -> None:
        score.calls += 1
        await asyncio.sleep(expovariate(1.0))
        if uniform() < FAILURE_RATE:
            raise StepFailed

    async def step() -> None:
        for attempt in range(RETRIES + 1):
            try:
                await call()
                return
            except StepFailed:
                if attempt == RETRIES:
                    raise
                score.calls += 1
                await asyncio.sleep(BACKOFF_S * 2**attempt)

    async def saga() -> None:
        done = []
        try:
            for number in range(STEPS):
                await step()
                done.append(number)
            score.succeeded += 1
        except StepFailed:
            for _number in reversed(done):
                score.calls += 1
                await asyncio.sleep(expovariate(1.0))
            score.compensated += 1

    async def main() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                await asyncio.sleep(expovariate(ARRIVALS_PER_S))
                group.create_task(saga())
        return loop.time() - start

    return score.figures(run(main))


def check(figures: Figures) -> None:
    """The share of sagas in which a step fails RETRIES + 1 times in a row."""
    sagas = figures["succeeded"] + figures["compensated"]
    expected = 1 - (1 - FAILURE_RATE ** (RETRIES + 1)) ** STEPS
    share = figures["compensated"] / sagas
    assert abs(share - expected) < 5 * (expected / sagas) ** 0.5, (
        f"{share} of the sagas failed, not {expected}"
    )


def work() -> Work:
    """The work with all who can do it here."""
    contenders: dict[str, Callable[[int, int], Figures]] = {"simpy": in_simpy, "wfsim": in_wfsim}
    contenders |= {name: partial(in_asyncio, run) for name, run in runners().items()}
    about = (
        f"sagas of {STEPS} steps, {FAILURE_RATE:.0%} of the calls fail, {RETRIES} retries, then compensation"
    )
    return Work("retry-saga", about, 10_000, 1_000, contenders, check)
