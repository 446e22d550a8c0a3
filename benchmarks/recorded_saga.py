"""The work "recorded-saga": retry-saga once more, by `Saga` and `Retry`, with injected faults and a whole history.

The model in SimPy stays what it is: bare, and it records nothing.
"""

from __future__ import annotations

import asyncio
import random

from retry_saga import (
    ARRIVALS_PER_S,
    BACKOFF_S,
    FAILURE_RATE,
    RETRIES,
    STEPS,
    Score,
    StepFailed,
    check,
    in_simpy,
)
from works import Figures, Work

from wfsim import Retry, Saga, fail, simulate
from wfsim.errors import RetriesExhausted
from wfsim.kernel import now, sleep, spawn


def in_wfsim(size: int, seed: int) -> Figures:
    """A saga as users write it; the nemesis, not the step, decides which call fails."""
    expovariate = random.Random(seed).expovariate
    score = Score()

    async def act() -> None:
        score.calls += 1
        await sleep(expovariate(1.0))

    retry = Retry(attempts=RETRIES + 1, delay=BACKOFF_S, backoff="exponential")
    saga = Saga("checkout")
    for number in range(STEPS):
        saga.add_step(f"step-{number}", forward=act, compensate=act, retry=retry)

    async def instance() -> None:
        try:
            await saga.run()
            score.succeeded += 1
        except RetriesExhausted:
            score.compensated += 1
        if score.succeeded + score.compensated == size:
            all_ended.set()

    async def arrivals() -> None:
        for _ in range(size):
            await sleep(expovariate(ARRIVALS_PER_S))
            spawn(instance())

    all_ended = asyncio.Event()

    async def main() -> float:
        spawn(arrivals())
        await all_ended.wait()
        return now()

    faults = [fail(on="forward", point="reply", error=StepFailed, probability=FAILURE_RATE)]
    return score.figures(simulate(main, seed=seed, faults=faults).result())


def work() -> Work:
    """The work with all who can do it here."""
    about = (
        f"the same by Saga and Retry: {FAILURE_RATE:.0%} of the replies fail by a fault rule, all is recorded"
    )
    contenders = {"simpy": in_simpy, "wfsim": in_wfsim}
    return Work("recorded-saga", about, 5_000, 500, contenders, check, exact=False)
