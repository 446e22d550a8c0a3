"""The pool holds its size, its order and all its places, whoever is cancelled, in a simulation and outside of one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.capacity import Pool
from wfsim.errors import DesignError
from wfsim.kernel import Simulation, crash, now, sleep, spawn, start_process

Main = Callable[[], Coroutine[Any, Any, Any]]


class _NoWaiting:
    """In front of a selector: where it would wait for the next timer, the loop's clock jumps there."""

    def __init__(self, selector: Any, loop: _StockLoop) -> None:
        self._selector = selector
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        assert timeout is not None, "nothing is ready and no timer is set"
        if timeout > 0:
            self._loop.virtual_time = self._loop._scheduled[0].when()
            self._loop._clock_resolution = math.ulp(self._loop.virtual_time)
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


class _StockLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop and tasks, made fast."""

    virtual_time = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = math.ulp(0.0)
        self._selector = _NoWaiting(self._selector, self)

    def time(self) -> float:
        return self.virtual_time


def in_simulation(main: Main) -> Any:
    outcome = Simulation().run(main)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def on_stock_loop(main: Main) -> Any:
    with asyncio.Runner(loop_factory=_StockLoop) as runner:
        return runner.run(main())


def in_simulation_with_asyncio_tasks(main: Main) -> Any:
    """asyncio's own tasks, which the kernel does not drive, on the kernel's loop."""

    async def outer() -> Any:
        asyncio.get_running_loop().set_task_factory(
            lambda loop, coro, **kw: asyncio.Task(coro, loop=loop, **kw)
        )
        return await asyncio.create_task(main())

    return in_simulation(outer)


WORLDS = [in_simulation, on_stock_loop, in_simulation_with_asyncio_tasks]
world = pytest.mark.parametrize("run", WORLDS)


class Visit:
    """One who comes at a time, stays for a time, and may be cancelled at a time."""

    def __init__(self, number: int, comes: int, stays: int, cancelled: int | None) -> None:
        self.number = number
        self.comes = comes
        self.stays = stays
        self.cancelled = cancelled


visits = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4), st.none() | st.integers(0, 8)), min_size=1, max_size=12
).map(lambda rows: [Visit(number, *row) for number, row in enumerate(rows)])


async def stress(pool: Pool, plan: list[Visit], start: Callable[[Any], Any]) -> list[tuple[int, int]]:
    """Let all of them visit; who came in, in that order, each with how many were then inside."""
    inside, came_in, line = 0, [], []

    async def visit(one: Visit) -> None:
        nonlocal inside
        await sleep(one.comes)
        if pool.in_use == pool.size:
            line.append(one.number)
        async with pool:
            inside += 1
            came_in.append((one.number, inside))
            try:
                await sleep(one.stays)
            finally:
                inside -= 1

    async def cancel(task: Any, when: int) -> None:
        await sleep(when)
        task.cancel()

    tasks = []
    for one in plan:
        tasks.append(start(visit(one)))
        if one.cancelled is not None:
            tasks.append(start(cancel(tasks[-1], one.cancelled)))
    await asyncio.gather(*tasks, return_exceptions=True)
    waited = [number for number, _ in came_in if number in line]
    assert waited == [number for number in line if number in waited], "first come, first served"
    return came_in


@world
@pytest.mark.parametrize("start", [spawn, asyncio.create_task])
@given(size=st.integers(1, 3), plan=visits)
@settings(deadline=None, max_examples=60)
def test_nobody_is_lost_and_never_too_many_are_inside(
    run: Callable[[Main], Any], start: Callable[[Any], Any], size: int, plan: list[Visit]
) -> None:
    """Under any visits and cancellations at most `size` are inside, in order, and in the end all places are free."""
    pool = Pool(size)

    async def main() -> list[tuple[int, int]]:
        return await stress(pool, plan, start)

    came_in = run(main)
    assert all(inside <= size for _, inside in came_in)
    assert {one.number for one in plan if one.cancelled is None} <= {number for number, _ in came_in}
    assert (pool.in_use, pool.waiting) == (0, 0)


@world
def test_first_come_first_served(run: Callable[[Main], Any]) -> None:
    """Those who wait come in in the order in which they came, each when one goes out."""
    log = []

    async def main() -> None:
        pool, start = Pool(2), now()

        async def visit(number: int) -> None:
            async with pool:
                log.append((number, now() - start))
                await sleep(1)

        await asyncio.gather(*(visit(number) for number in range(5)))

    run(main)
    assert log == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)]


@world
def test_who_is_cancelled_in_line_leaves_no_hole(run: Callable[[Main], Any]) -> None:
    """The next in line takes the turn of one who was cancelled while waiting."""

    async def main() -> tuple[list[str], int, int]:
        pool, log = Pool(1), []

        async def visit(name: str) -> None:
            async with pool:
                log.append(name)
                await sleep(1)

        first, second, third = (spawn(visit(name)) for name in ("first", "second", "third"))
        await sleep(0.5)
        assert pool.waiting == 2
        second.cancel()
        await first
        await third
        return log, pool.in_use, pool.waiting

    assert run(main) == (["first", "third"], 0, 0)


@world
def test_who_is_cancelled_when_called_in_hands_the_place_on(run: Callable[[Main], Any]) -> None:
    """A place given to a task that is cancelled before it can go on is not lost: the next in line gets it."""

    async def main() -> tuple[list[str], int]:
        pool, log = Pool(1), []

        async def visit(name: str) -> None:
            async with pool:
                log.append(name)

        async def hold() -> None:
            async with pool:
                await sleep(1)
            waiting[0].cancel()  # at this very instant it has been called in

        holder = spawn(hold())
        await sleep(0.5)
        waiting = [spawn(visit("second")), spawn(visit("third"))]
        await holder
        await waiting[1]
        return log, pool.in_use

    assert run(main) == (["third"], 0)


@world
def test_a_wait_in_line_may_time_out(run: Callable[[Main], Any]) -> None:
    """`asyncio.timeout` around the pool gives up the wait and nothing else."""

    async def main() -> tuple[float, int, int]:
        pool = Pool(1)
        async with pool:
            start = now()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2), pool:
                    pytest.fail("it is taken")
            return now() - start, pool.in_use, pool.waiting

    assert run(main) == (2, 1, 0)


@world
def test_an_error_inside_gives_the_place_back(run: Callable[[Main], Any]) -> None:
    """Who leaves by an exception leaves all the same, and the exception goes on."""

    async def main() -> int:
        pool = Pool(1)
        with pytest.raises(KeyError):
            async with pool:
                raise KeyError("inside")
        return pool.in_use

    assert run(main) == 0


@world
def test_a_task_that_waits_and_is_closed_leaves_the_line(run: Callable[[Main], Any]) -> None:
    """A coroutine closed while it stands in line takes its waiting with it."""

    async def main() -> tuple[int, int]:
        pool = Pool(1)

        async def visit() -> None:
            async with pool:
                pytest.fail("it never comes in")

        async with pool:
            waiter = visit()
            waiter.send(None)
            assert pool.waiting == 1
            waiter.close()
            left = pool.waiting
        return left, pool.in_use

    assert run(main) == (0, 0)


def test_a_crash_in_line_takes_nobody_elses_turn() -> None:
    """A process that crashes while it waits is called in no more; the next in line is."""

    async def main() -> tuple[list[str], int]:
        pool, log = Pool(1), []

        async def visit(name: str) -> None:
            async with pool:
                log.append(name)

        async with pool:
            start_process("doomed", visit, "doomed")
            lucky = start_process("lucky", visit, "lucky")
            await sleep(1)
            await crash("doomed")
            assert pool.waiting == 1
        await lucky
        return log, pool.in_use

    assert in_simulation(main) == (["lucky"], 0)


def test_a_crash_inside_takes_the_place_along_for_the_rest_of_the_run_only() -> None:
    """The dead give nothing back; the next simulation finds the pool empty."""
    pool = Pool(2)

    async def hold() -> None:
        async with pool:
            await sleep(math.inf)

    async def crashing() -> int:
        start_process("holder", hold)
        await sleep(1)
        await crash("holder")
        return pool.in_use

    async def next_run() -> int:
        async with pool:
            return pool.in_use

    assert in_simulation(crashing) == 1
    assert in_simulation(next_run) == 1
    assert pool.in_use == 0


def test_one_pool_serves_run_after_run() -> None:
    """A pool made once works in simulations and on stock loops in turn, waits included."""
    pool = Pool(1)

    async def main() -> list[int]:
        log = []

        async def visit(number: int) -> None:
            async with pool:
                log.append(number)
                await sleep(1)

        await asyncio.gather(visit(1), visit(2))
        return log

    for run in (in_simulation, on_stock_loop, in_simulation, on_stock_loop, on_stock_loop):
        assert run(main) == [1, 2]


@pytest.mark.parametrize("size", [0, -1, 1.5, "4", None, True])
def test_a_wrong_size_is_refused_when_the_pool_is_made(size: Any) -> None:
    """The error says what the size is for, what it may be, and what it was."""
    with pytest.raises(
        DesignError, match=r"how many may be inside at once.*1 or more.*cannot be " + repr(size)
    ):
        Pool(size)


def test_its_name_tells_its_state() -> None:
    """`repr` shows size, use and line."""
    assert repr(Pool(3)) == "<Pool size=3 in_use=0 waiting=0>"
