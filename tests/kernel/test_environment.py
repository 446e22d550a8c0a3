"""The environment is SimPy's, in integer nanoseconds: stock SimPy is the outside truth."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.kernel import Environment, Simulation

# A process is a list of orders, interpreted in the same way in every environment.
DELAYS = st.sampled_from([0, 0.5, 1, 1.5, 2])
ORDERS = st.one_of(
    st.tuples(st.just("wait"), DELAYS),
    st.tuples(st.just("use"), DELAYS),
    st.tuples(st.just("prefer"), st.integers(0, 2), DELAYS),
    st.tuples(st.just("put"), st.integers(0, 9)),
    st.tuples(st.just("get"), st.just(0)),
    st.tuples(st.just("all"), DELAYS, DELAYS),
    st.tuples(st.just("any"), DELAYS, DELAYS),
    st.tuples(st.just("spawn"), DELAYS),
    st.tuples(st.just("interrupt"), st.integers(0, 3)),
)
PROGRAMS = st.lists(st.lists(ORDERS, max_size=5), min_size=1, max_size=5)


def play(env: simpy.Environment, program: list[list[Any]]) -> list[Any]:
    """Run a program of SimPy processes and return the log of what happened when."""
    log: list[Any] = []
    resource = simpy.Resource(env, capacity=1)
    preferred = simpy.PriorityResource(env, capacity=1)
    store = simpy.Store(env, capacity=2)
    processes: list[simpy.Process] = []

    def child(name: str, delay: float):
        yield env.timeout(delay)
        log.append((env.now, name, "born"))

    def obey(name: str, order: tuple[Any, ...]):
        kind, *rest = order
        if kind == "wait":
            yield env.timeout(rest[0])
        elif kind == "use":
            with resource.request() as turn:
                yield turn
                yield env.timeout(rest[0])
        elif kind == "prefer":
            with preferred.request(priority=rest[0]) as turn:
                yield turn
                yield env.timeout(rest[1])
        elif kind == "put":
            yield store.put(rest[0])
        elif kind == "get":
            with store.get() as item:
                result = yield item | env.timeout(3)
                log.append((env.now, name, "got", [v for v in result.values() if v is not None]))
        elif kind == "all":
            yield env.timeout(rest[0]) & env.timeout(rest[1])
        elif kind == "any":
            yield env.timeout(rest[0]) | env.timeout(rest[1])
        elif kind == "spawn":
            env.process(child(f"{name}'s child", rest[0]))
            yield env.timeout(0)
        elif kind == "interrupt":
            victim = processes[rest[0] % len(processes)]
            if victim.is_alive and victim is not env.active_process:
                victim.interrupt(name)
            yield env.timeout(0)

    def process(name: str, orders: list[Any]):
        for order in orders:
            try:
                yield from obey(name, order)
            except simpy.Interrupt as interrupt:
                log.append((env.now, name, "interrupted by", interrupt.cause))
            log.append((env.now, name, order[0]))

    processes.extend(env.process(process(f"p{i}", orders)) for i, orders in enumerate(program))
    try:
        env.run(until=50)
    except simpy.Interrupt as interrupt:  # of a process that had not begun: it cannot catch it
        log.append((env.now, "a process died", interrupt.cause))
    return log


@settings(max_examples=300, deadline=None)
@given(PROGRAMS)
def test_random_simpy_programs_run_as_in_stock_simpy(program):
    """Whatever SimPy processes do to each other, they do it at the same times and in the same order."""
    assert play(Environment(), program) == play(simpy.Environment(), program)


def test_stock_simpy_objects_live_beside_coroutines():
    """Processes, resources and stores of SimPy run in a simulation, and `await` takes their events."""

    async def main() -> list[Any]:
        env = simulation.environment
        resource, store = simpy.Resource(env, capacity=1), simpy.Store(env)
        log: list[Any] = []

        def customer(name: str):
            with resource.request() as turn:
                yield turn
                yield env.timeout(2)
            yield store.put(name)

        first, second = env.process(customer("a")), env.process(customer("b"))
        await asyncio.sleep(1)
        with resource.request() as turn:
            await turn
            log.append(("my turn", env.now))
            await asyncio.sleep(1)
        log.append((await store.get(), await store.get(), env.now))
        await env.all_of([first, second])
        return log

    simulation = Simulation()
    assert simulation.run(main).value == [("my turn", 4.0), ("a", "b", 5.0)]


def test_a_simpy_process_waits_for_a_task():
    """A process yields an asyncio task, alone or in a condition, and gets its value."""

    async def charge() -> str:
        await asyncio.sleep(3)
        return "charged"

    async def main() -> Any:
        env = simulation.environment
        task = asyncio.create_task(charge())

        def waits():
            value = yield task
            both = yield task & env.timeout(1, "late")
            return value, list(both.values()), env.now

        return await env.process(waits())

    simulation = Simulation()
    assert simulation.run(main).value == ("charged", ["charged", "late"], 4.0)


def test_the_error_of_a_task_reaches_the_process_that_waits_for_it():
    """A process that yields a task sees its exception."""

    async def fails() -> None:
        await asyncio.sleep(1)
        raise ConnectionError("odd")

    async def main() -> str:
        task = asyncio.create_task(fails())

        def waits():
            try:
                yield task
            except ConnectionError as error:
                return str(error)

        return await simulation.environment.process(waits())

    simulation = Simulation()
    assert simulation.run(main).value == "odd"


def test_an_error_that_no_process_handles_ends_the_run():
    """A SimPy process that fails and is not waited for fails the run with its own exception."""

    async def main() -> None:
        def fails():
            yield simulation.environment.timeout(1)
            raise KeyError("lost")

        simulation.environment.process(fails())
        await asyncio.sleep(5)

    simulation = Simulation()
    outcome = simulation.run(main)
    assert outcome.name == "error"
    assert isinstance(outcome.error, KeyError)


def test_time_is_integer_nanoseconds():
    """Ten waits of a tenth of a second are one second, to the nanosecond; floats would have drifted."""

    async def main() -> int:
        for _ in range(10):
            await asyncio.sleep(0.1)
        return simulation.now_ns

    simulation = Simulation()
    assert simulation.run(main).value == 1_000_000_000


def test_cancelled_timers_leave_neither_time_nor_memory_behind():
    """A hundred thousand timeouts that never fire keep the queue short and the clock where it was."""

    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        for _ in range(100_000):
            loop.call_later(3600, print).cancel()
        return len(simulation.environment._queue), loop.time()

    simulation = Simulation()
    size, now = simulation.run(main).value
    assert size < 1_000
    assert now == 0


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0]), max_size=30))
def test_timers_of_one_instant_fire_in_the_order_set(delays):
    """For any delays, callbacks come ordered by time and then by when they were set."""

    async def main() -> list[tuple[float, int]]:
        loop, fired = asyncio.get_running_loop(), []
        for i, delay in enumerate(delays):
            loop.call_later(delay, lambda i=i, delay=delay: fired.append((delay, i)))
        await asyncio.sleep(2)
        return fired

    assert Simulation().run(main).value == sorted((delay, i) for i, delay in enumerate(delays))


def test_the_environment_alone_has_simpys_interface():
    """run(until), peek and step work as SimPy documents them."""
    env = Environment()
    seen: list[float] = []
    for delay in (1, 2):
        env.timeout(delay).callbacks.append(lambda _event: seen.append(env.now))
    assert env.peek() == 1
    env.step()
    assert seen == [1.0]
    env.run(until=1.5)
    assert env.now == 1.5
    env.run()
    assert seen == [1.0, 2.0]
    with pytest.raises(simpy.core.EmptySchedule):
        env.step()
    with pytest.raises(ValueError, match="until"):
        env.run(until=1)
