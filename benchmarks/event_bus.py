"""The work "event-bus": a hundred subscribers, one event a second, a lossy network, replay until all have all."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

import simpy
from works import Figures, Work

from wfsim import Event, EventBus, lose_event
from wfsim.kernel import Simulation, exponential, sleep
from wfsim.nemesis import Rules

SUBSCRIBERS = 100
LOSS = 0.01
PERIOD_S = 1.0
LATENCY_S = 0.05
REPLAY_S = 10.0


def in_simpy(size: int, seed: int) -> Figures:
    """Generator processes on the stock environment, by hand; it records nothing."""
    env = simpy.Environment()
    chance = random.Random(seed)
    uniform, expovariate = chance.random, chance.expovariate
    published: list[int] = []
    inboxes: list[Any] = [simpy.Store(env) for _ in range(SUBSCRIBERS)]
    seen: list[dict[int, None]] = [{} for _ in range(SUBSCRIBERS)]
    sent = 0
    Process = Generator[simpy.Event, Any, None]

    def deliver(subscriber: int, event: int) -> Process:
        nonlocal sent
        sent += 1
        if uniform() < LOSS:
            return
        yield env.timeout(expovariate(1 / LATENCY_S))
        yield inboxes[subscriber].put(event)

    def publisher() -> Process:
        for event in range(size):
            yield env.timeout(PERIOD_S)
            published.append(event)
            for subscriber in range(SUBSCRIBERS):
                env.process(deliver(subscriber, event))

    def subscriber(number: int) -> Process:
        inbox, got = inboxes[number], seen[number]
        while len(got) < size:
            event = yield inbox.get()
            got[event] = None

    def replayer(number: int) -> Process:
        got = seen[number]
        while len(got) < size:
            yield env.timeout(REPLAY_S)
            head = len(published) - 1 if len(published) < size else size  # the newest is still on its way
            for event in range(head):
                if event not in got:
                    env.process(deliver(number, event))

    env.process(publisher())
    for number in range(SUBSCRIBERS):
        env.process(subscriber(number))
        env.process(replayer(number))
    env.run()
    return _figures(seen, sent, size)


def in_wfsim(size: int, seed: int) -> Figures:
    """A whole EventBus: at least once, its faults injected by a rule, every delivery recorded."""
    seen: list[dict[int, None]] = [{} for _ in range(SUBSCRIBERS)]

    async def main() -> None:
        bus = EventBus(latency=exponential(LATENCY_S), visibility_timeout=REPLAY_S, max_deliveries=None)
        for number in range(SUBSCRIBERS):

            async def handle(event: Event, got: dict[int, None] = seen[number]) -> None:
                got[event.payload] = None

            bus.subscribe("tick", handle, name=f"subscriber-{number}")
        for number in range(size):
            await sleep(PERIOD_S)
            bus.publish(Event("tick", number))
        await bus.drain()

    rules = Rules([lose_event("tick", probability=LOSS)])
    simulation = Simulation(seed=seed, nemesis=rules)
    outcome = simulation.run(main)
    assert outcome.name == "ok", outcome.error
    assert len(simulation.recorder) > 2 * size * SUBSCRIBERS
    return _figures(seen, size * SUBSCRIBERS + sum(rules.struck), size)


def _figures(seen: list[dict[int, None]], sent: int, size: int) -> Figures:
    """What all must agree on is what arrived; how often it was sent is a matter of chance, within bounds."""
    wanted = size * SUBSCRIBERS
    lost = sent - wanted
    expected = wanted * LOSS / (1 - LOSS)
    assert abs(lost - expected) < 5 * expected**0.5, f"{lost} deliveries were lost, not about {expected:.0f}"
    return {"handled": sum(map(len, seen))}


def check(figures: Figures) -> None:
    """Everybody has everything."""
    assert figures["handled"] % SUBSCRIBERS == 0


def work() -> Work:
    """The work with all who can do it here."""
    about = f"{SUBSCRIBERS} subscribers, {LOSS:.0%} of the deliveries lost, sent again after {REPLAY_S:.0f} s"
    return Work("event-bus", about, 300, 50, {"simpy": in_simpy, "wfsim": in_wfsim}, check)
