"""Light tasks obey asyncio's protocol, and the library's own waits can be cancelled anywhere."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar, copy_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.kernel import LightTask, Simulation, now, park, sleep, spawn, wake


def run(main):
    outcome = Simulation().run(main)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


async def after(delay: float, value: object) -> object:
    await sleep(delay)
    return value


def test_spawn_makes_a_light_task_that_can_be_awaited():
    """Its value, its error and its state are those of an asyncio task."""

    async def fails():
        await sleep(1)
        raise KeyError("x")

    async def main():
        good, bad = spawn(after(1, "v")), spawn(fails())
        assert isinstance(good, LightTask)
        with pytest.raises(asyncio.InvalidStateError):
            good.result()
        assert await good == "v"
        assert await good == "v"
        with pytest.raises(KeyError):
            await bad
        assert isinstance(bad.exception(), KeyError)
        return good.done(), good.cancelled(), good.result()

    assert run(main) == (True, False, "v")


PLACE: ContextVar[str] = ContextVar("place", default="nowhere")


@pytest.mark.parametrize("start", [run, lambda main: asyncio.run(main())], ids=["simulation", "asyncio"])
def test_spawn_takes_a_name_and_a_context(start):
    """As with `asyncio.create_task`; without a context a task gets a copy, and sets nothing in its caller's."""

    async def tell_and_set(place: str) -> str:
        before = PLACE.get()
        PLACE.set(place)
        return before

    async def main():
        given = copy_context()
        given.run(PLACE.set, "given")
        task = spawn(tell_and_set("there"), name="scout", context=given)
        assert task.get_name() == "scout"
        assert await task == "given"
        assert await spawn(tell_and_set("elsewhere")) == "nowhere"
        return given[PLACE], PLACE.get()

    assert start(main) == ("there", "nowhere")


def test_asyncio_takes_light_tasks():
    """gather, wait, wait_for, shield, as_completed and all_tasks work with them."""

    async def main():
        assert await asyncio.gather(spawn(after(2, "a")), spawn(after(1, "b"))) == ["a", "b"]
        fast, slow = spawn(after(1, "fast")), spawn(after(5, "slow"))
        done, pending = await asyncio.wait([fast, slow], return_when=asyncio.FIRST_COMPLETED)
        assert (done, pending) == ({fast}, {slow})
        assert slow in asyncio.all_tasks()
        assert await asyncio.shield(slow) == "slow"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(spawn(after(5, "x")), 1)
        return [await one for one in asyncio.as_completed([spawn(after(2, 2)), spawn(after(1, 1))])]

    assert run(main) == [1, 2]


def test_asyncio_runs_in_light_tasks():
    """timeouts, task groups and current_task work in code that a light task runs."""

    async def inner():
        assert asyncio.current_task().get_name().startswith("Task-")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await sleep(10)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(after(1, "in group"))
        return task.result(), now()

    async def main():
        return await spawn(inner())

    assert run(main) == ("in group", 2.0)


@settings(deadline=None)
@given(st.floats(0.001, 10), st.floats(0.001, 10))
def test_a_sleep_is_cancelled_exactly_when_asked(wait, cut):
    """A sleeping task that is cancelled ends at that time, else at the end of its sleep."""

    async def main():
        task = spawn(sleep_and_tell())
        await sleep(cut)
        task.cancel()
        return await task

    async def sleep_and_tell():
        try:
            await sleep(wait)
        except asyncio.CancelledError:
            return "cancelled", now()
        return "slept", now()

    word, time = run(main)
    assert word == ("slept" if wait <= cut else "cancelled") or abs(wait - cut) < 1e-9
    assert time == pytest.approx(min(wait, cut), abs=1e-9)


def test_a_task_that_cancels_itself_stops_at_its_next_wait():
    """Self-cancellation reaches the library's own waits, at the same instant."""

    async def main():
        async def suicidal():
            asyncio.current_task().cancel("enough")
            try:
                await sleep(100)
            except asyncio.CancelledError as error:
                return error.args, now()

        return await spawn(suicidal())

    assert run(main) == (("enough",), 0.0)


def test_uncancel_is_honoured():
    """Cancel and uncancel are counted in light tasks as in asyncio's."""

    async def main():
        async def body():
            me = asyncio.current_task()
            try:
                await sleep(10)
            except asyncio.CancelledError:
                assert me.cancelling() == 1
                assert me.uncancel() == 0
            await sleep(1)
            return now()

        task = spawn(body())
        await sleep(1)
        task.cancel()
        return await task

    assert run(main) == 2.0


def test_park_and_wake():
    """A parked task goes on at the instant at which it is woken."""

    async def main():
        async def sleeper():
            await park()
            return now()

        task = spawn(sleeper())
        await sleep(3)
        wake(task)
        return await task

    assert run(main) == 3.0


def test_a_cancelled_light_task_is_cancelled():
    """One that never began, and one that lets the error pass."""

    async def main():
        early = spawn(after(1, None))
        early.cancel()
        late = spawn(after(5, None))
        await sleep(1)
        late.cancel()
        await sleep(0)
        await sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await late
        return early.cancelled(), late.cancelled(), late.cancel()

    assert run(main) == (True, True, False)


@pytest.mark.parametrize("delay", [0, -1, 0.0])
def test_a_sleep_of_nothing_lets_others_run(delay):
    """sleep(0) and less yield once and take no time."""

    async def main():
        log = []

        async def other():
            log.append("other")

        spawn(other())
        await sleep(delay)
        log.append("me")
        return log, now()

    assert run(main) == (["other", "me"], 0.0)


def test_a_sleep_of_nan_is_refused():
    """NaN is no time to wait."""

    async def main():
        with pytest.raises(ValueError, match="NaN"):
            await sleep(float("nan"))

    run(main)


def test_a_sleep_for_ever_ends_by_being_cancelled():
    """An infinite wait never comes due; timers at infinity never fire, and can be cancelled."""

    async def main():
        asyncio.get_running_loop().call_later(float("inf"), print).cancel()
        for wait in (sleep, asyncio.sleep):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await wait(float("inf"))
        return now()

    assert run(main) == 10.0


def test_the_shortest_wait_moves_the_clock():
    """A wait that is shorter than a nanosecond still moves time, so that loops over deadlines end."""

    async def main():
        await asyncio.sleep(1e-12)
        first = now()
        await sleep(1e-12)
        return first, now()

    assert run(main) == (1e-9, 2e-9)


def test_a_strange_yield_is_an_error_in_the_task():
    """Awaiting what is no awaitable of asyncio, SimPy or wfsim fails in that task, with the thing named."""

    class Strange:
        def __await__(self):
            yield "strange"

    async def main():
        with pytest.raises(RuntimeError, match="bad yield: 'strange'"):
            await Strange()
        with pytest.raises(RuntimeError, match="different loop"):
            await asyncio.new_event_loop().create_future()

    run(main)


@pytest.mark.parametrize("how", ["at once", "after a sleep", "after a future", "cancelled"])
@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("blocks", [True, False])
def test_a_task_that_ended_badly_is_let_go_at_once(how, debug, blocks):
    """No cycle through its error's traceback keeps it, so asyncio complains of an unseen error in good time."""

    async def bad() -> None:
        if how == "after a sleep":
            await asyncio.sleep(0.1)
        elif how != "at once":
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.call_later(0.1, future.set_result, None)
            await future
        raise ValueError

    async def main() -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        task = asyncio.create_task(bad())
        gone = weakref.ref(task)
        await asyncio.sleep(0.05)
        if how == "cancelled":
            task.cancel()
        del task
        await asyncio.sleep(0.1)
        return gone() is None

    gc.disable()
    try:
        outcome = Simulation(debug=debug).run((lambda: asyncio.run(main())) if blocks else main)
    finally:
        gc.enable()
    assert outcome.value is True
