"""Unmodified asyncio programs do in virtual time what they do on the stock loop.

Each program below logs what happens. It runs once on asyncio's own loop, in real time, and the log is compared with
those of two simulations: one in which the program is the main coroutine, one in which blocking code calls
`asyncio.run`. No program depends on how fast the machine is: what it orders by time is far apart or causally bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import pytest

from wfsim.kernel import Simulation, VirtualLoop

Log = Callable[[object], None]
Program = Callable[[Log], Awaitable[object]]

T = 0.01  # one step of time; what must not overlap is several of them apart
LONG = 600 * T  # nobody waits that long: a test in which something does hangs on the stock loop

PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    """Add a program to those that are compared."""
    PROGRAMS[function.__name__] = function
    return function


def since(version: tuple[int, int]) -> Callable[[Program], Program]:
    """Add a program that needs a newer Python."""
    return program if sys.version_info >= version else lambda function: function


# ------------------------------------------------------------------------------------------- running them


def collect(run: Callable[[Log], object]) -> tuple[list[object], float]:
    """The log of a run and the seconds it took on its loop's clock."""
    log: list[object] = []
    start = time.monotonic()
    run(log.append)
    log.append("the end of the run")
    # A task that nobody awaits reports its error when it is collected: let that happen within the run.
    gc.collect()
    return log, time.monotonic() - start


@cache
def on_the_stock_loop(name: str) -> tuple[list[object], float]:
    return collect(lambda log: asyncio.run(PROGRAMS[name](log)))


def as_main_coroutine(name: str) -> tuple[list[object], float]:
    log: list[object] = []
    outcome = Simulation().run(PROGRAMS[name], log.append)
    if outcome.error is not None:
        raise outcome.error
    return [*log, "the end of the run"], outcome.duration_ns / 1e9


def in_blocking_code(name: str) -> tuple[list[object], float]:
    outcome = Simulation().run(lambda: collect(lambda log: asyncio.run(PROGRAMS[name](log))))
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


@pytest.mark.parametrize("simulate", [as_main_coroutine, in_blocking_code])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same_in_virtual_time(name: str, simulate: Callable[[str], Any]) -> None:
    """What happens, and in which order, is the same as on asyncio's own loop; and it takes no longer."""
    expected, real_s = on_the_stock_loop(name)
    log, virtual_s = simulate(name)
    assert len(expected) > 1, "a program that logs nothing shows nothing"
    assert log == expected
    assert virtual_s <= real_s


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_never_differs_from_itself(name: str) -> None:
    """Two simulations of one program log the same and take the same virtual time, to the nanosecond."""
    assert as_main_coroutine(name) == as_main_coroutine(name)


def test_a_loop_that_is_stopped_before_it_runs_goes_one_round() -> None:
    """What was ready runs; what that makes ready does not."""
    loops = asyncio.new_event_loop(), VirtualLoop()
    logs: list[list[str]] = []
    for loop in loops:
        logs.append(log := [])
        loop.call_soon(log.append, "ready")
        loop.call_soon(loop.call_soon, log.append, "too late")
        loop.stop()
        loop.run_forever()
        loop.close()
    assert logs == [["ready"], ["ready"]]


SPINNING = """
import asyncio
from wfsim.kernel import Bounds, Simulation

async def spin():
    while True:
        await asyncio.sleep(0)

for main in (spin, lambda: asyncio.run(spin())):
    print(Simulation(bounds=Bounds(stalled_steps=1000)).run(main).name)
"""


def test_a_loop_that_never_waits_is_a_livelock_wherever_it_runs() -> None:
    """Bounds hold for the loops of blocking code as for the simulation's own."""
    command = [sys.executable, "-c", SPINNING]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["livelock", "livelock"]


# ------------------------------------------------------------------------------------- what programs share


async def say(log: Log, what: object, delay: float = 0.0) -> object:
    """Log, after a while, and return what was logged."""
    try:
        await asyncio.sleep(delay)
    except asyncio.CancelledError as error:
        log(f"{what} cancelled {error.args}")
        raise
    log(what)
    return what


async def fail(log: Log, what: str, delay: float = 0.0) -> None:
    """Log, after a while, and raise."""
    await say(log, what, delay)
    raise ValueError(what)


def error_of(call: Callable[[], object]) -> str:
    """The error that a call raises, as text."""
    try:
        call()
    except (Exception, asyncio.CancelledError) as error:
        return repr(error)
    return "no error"


async def error_from(awaitable: Awaitable[object]) -> str:
    """The error that awaiting raises, as text."""
    try:
        await awaitable
    except (Exception, asyncio.CancelledError) as error:
        return repr(error)
    return "no error"


async def spin(times: int = 5) -> None:
    """Let everybody else run for some rounds."""
    for _ in range(times):
        await asyncio.sleep(0)


def hear_errors(log: Log) -> None:
    """Log what reaches the loop's exception handler."""

    def handler(_loop: object, context: dict[str, Any]) -> None:
        message = re.sub(r" at .*", "", context["message"])
        log((message, repr(context.get("exception"))))

    asyncio.get_running_loop().set_exception_handler(handler)


# ------------------------------------------------------------------------------------------------ sleeping


@program
async def tasks_that_sleep_equally_long_wake_in_order(log: Log) -> None:
    await asyncio.gather(*(say(log, n, T) for n in range(5)))


@program
async def tasks_that_sleep_differently_wake_by_time(log: Log) -> None:
    await asyncio.gather(*(say(log, n, n * 5 * T) for n in (3, 1, 2, 0)))


@program
async def sleep_zero_gives_each_task_a_turn(log: Log) -> None:
    async def turns(name: str) -> None:
        for n in range(4):
            log((name, n))
            await asyncio.sleep(0)

    await asyncio.gather(*(turns(name) for name in "abc"))


@program
async def sleep_returns_its_result_and_takes_no_less_than_asked(log: Log) -> None:
    start = asyncio.get_running_loop().time()
    log(await asyncio.sleep(2 * T, "slept"))
    log(asyncio.get_running_loop().time() - start > 2 * T - 1e-6)
    log(await asyncio.sleep(-1, "past"))


@program
async def a_sleep_that_is_cancelled_frees_its_task_at_once(log: Log) -> None:
    task = asyncio.create_task(say(log, "sleeper", LONG))
    await asyncio.sleep(T)
    log(task.cancel("enough"))
    log(await error_from(task))
    log((task.cancelled(), task.done(), task.cancelling()))


# ------------------------------------------------------------------------------------ callbacks and timers


@program
async def callbacks_and_new_tasks_run_in_order(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(log, "first")
    task = loop.create_task(say(log, "task"))
    loop.call_soon(log, "second")
    loop.call_soon_threadsafe(log, "third")
    future = loop.create_future()
    future.add_done_callback(lambda _: log("future"))
    future.set_result(None)
    loop.call_soon(log, "fourth")
    await task


@program
async def a_timer_without_delay_comes_after_what_is_ready(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0, log, "timer")
    loop.call_soon(log, "ready")
    asyncio.create_task(say(log, "task"))
    loop.call_soon(loop.call_soon, log, "next round")
    await spin()


@program
async def timers_of_the_past_run_by_their_time(log: Log) -> None:
    loop = asyncio.get_running_loop()
    for seconds in (1, 3, 2):
        loop.call_later(-seconds, log, -seconds)
    loop.call_at(loop.time() - 9, log, "long ago")
    await asyncio.sleep(T)


@program
async def timers_fire_by_time_and_not_by_when_they_were_set(log: Log) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    for steps in (11, 1, 6):
        loop.call_at(now + steps * T, log, steps)
    loop.call_later(16 * T, log, 16)
    await asyncio.sleep(21 * T)


@program
async def timers_wait_for_code_that_blocks(log: Log) -> None:
    asyncio.get_running_loop().call_later(T, log, "timer")
    sleeper = asyncio.create_task(say(log, "sleeper", T))
    await asyncio.sleep(0)
    log("blocks")
    time.sleep(4 * T)
    log("blocks no more")
    await sleeper


@program
async def a_cancelled_timer_never_fires(log: Log) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    one, other = loop.call_later(T, log, "one"), loop.call_later(T, log, "other")
    one.cancel()
    one.cancel()
    log((one.cancelled(), other.cancelled(), one.when() <= other.when(), one.when() >= before + T))
    await asyncio.sleep(4 * T)
    soon = loop.call_soon(log, "soon")
    soon.cancel()
    log(soon.cancelled())
    await spin()


@program
async def a_cancelled_timer_lets_go_of_its_callback(log: Log) -> None:
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(LONG, log, "never") for _ in range(300)]
    for timer in timers:
        timer.cancel()
    log(repr(timers[0]).split(" when=")[0])
    log([timer._callback for timer in timers[:2]])


@program
async def a_callback_that_raises_is_reported_and_stops_nobody(log: Log) -> None:
    hear_errors(log)
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: 1 / 0)
    loop.call_soon(log, "next")
    loop.call_later(T, int, "not a number")
    await asyncio.sleep(3 * T)


@program
async def loops_refuse_what_makes_no_sense(log: Log) -> None:
    loop = asyncio.get_running_loop()
    log(error_of(lambda: loop.call_later(None, log)))  # type: ignore[arg-type]
    log(error_of(lambda: loop.call_at(None, log)))  # type: ignore[arg-type]
    log(error_of(loop.run_forever))
    log(error_of(lambda: loop.set_exception_handler(1)))  # type: ignore[arg-type]
    log(error_of(lambda: loop.set_task_factory(1)))  # type: ignore[arg-type]
    coroutine = say(log, "never")
    log(error_of(lambda: asyncio.run(coroutine)))
    coroutine.close()
    log(error_of(lambda: asyncio.create_task("no coroutine")))  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- cancelling


@program
async def a_task_cancelled_before_its_start_never_starts(log: Log) -> None:
    task = asyncio.create_task(say(log, "started"))
    task.cancel("early")
    log(await error_from(task))
    log(task.cancelled())


@program
async def a_task_may_swallow_a_cancel_and_take_it_back(log: Log) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            log((task.cancelling(), task.uncancel(), task.cancelling(), task.uncancel()))
        await asyncio.sleep(T)
        return "done all the same"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(T)
    task.cancel()
    log(await task)
    log((task.cancelled(), task.cancel(), task.cancelling()))


@program
async def two_cancels_are_one_error_and_two_requests(log: Log) -> None:
    async def count() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(2 * T)
            except asyncio.CancelledError as error:
                log(repr(error))

    task = asyncio.create_task(count())
    await asyncio.sleep(0)
    log((task.cancel("first"), task.cancel("second"), task.cancelling()))
    await task
    log((task.cancelled(), task.cancelling()))


@program
async def a_cancel_taken_back_too_late_still_arrives(log: Log) -> None:
    task = asyncio.create_task(say(log, "sleeper", LONG))
    await asyncio.sleep(T)
    log((task.cancel("sent"), task.uncancel(), task.cancelling()))
    log(await error_from(task))


@program
async def a_cancel_taken_back_before_the_start(log: Log) -> None:
    task = asyncio.create_task(say(log, "starter"))
    log((task.cancel("early"), task.uncancel(), task.cancelling()))
    log(await error_from(task))


@program
async def a_task_may_cancel_itself(log: Log) -> None:
    async def suicidal() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("own wish")
        log("still here")
        await say(log, "gone", T)

    log(await error_from(asyncio.create_task(suicidal())))


@program
async def a_task_that_cancels_itself_may_still_return(log: Log) -> None:
    async def returns() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "value"

    task = asyncio.create_task(returns())
    log(await error_from(task))
    log(task.cancelled())


@program
async def a_cancelled_task_cleans_up_before_it_ends(log: Log) -> None:
    async def careful() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            log("cleaning")
            await asyncio.sleep(T)
            log("clean")

    task = asyncio.create_task(careful())
    await spin()
    task.cancel()
    log(await error_from(task))


@program
async def an_error_while_cleaning_up_replaces_the_cancel(log: Log) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            raise KeyError("lost")

    task = asyncio.create_task(clumsy())
    await spin()
    task.cancel()
    log(await error_from(task))
    error = task.exception()
    assert error is not None
    log((task.cancelled(), repr(error.__context__)))


@program
async def cancelling_a_task_cancels_what_it_awaits(log: Log) -> None:
    inner = asyncio.create_task(say(log, "inner", LONG))

    async def outer() -> None:
        try:
            await inner
        except asyncio.CancelledError as error:
            log(f"outer {error.args}")
            raise

    task = asyncio.create_task(outer())
    await asyncio.sleep(T)
    task.cancel("from above")
    log(await error_from(task))
    log(inner.cancelled())


@program
async def cancelling_a_future_wakes_all_who_await_it(log: Log) -> None:
    future = asyncio.get_running_loop().create_future()

    async def waiter(name: str) -> None:
        log((name, await error_from(future)))

    tasks = [asyncio.create_task(waiter(name)) for name in "abc"]
    await spin()
    log(future.cancel("off"))
    await asyncio.gather(*tasks)
    log((future.cancel(), error_of(lambda: future.set_result(1)), error_of(future.result)))


@program
async def a_task_cancelled_at_its_last_step_is_cancelled(log: Log) -> None:
    future = asyncio.get_running_loop().create_future()

    async def waits() -> object:
        return await future

    task = asyncio.create_task(waits())
    await spin()
    future.set_result("value")
    log(task.cancel())
    log(await error_from(task))


# --------------------------------------------------------------------------------------- timeouts, shields


@program
async def a_timeout_turns_its_own_cancel_into_an_error(log: Log) -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        async with asyncio.timeout(T) as limit:
            log((limit.expired(), limit.when() is None))
            await say(log, "body", LONG)
    except TimeoutError as error:
        log((repr(error), repr(error.__cause__), limit.expired(), task.cancelling()))


@program
async def a_timeout_as_long_as_the_work_expires_first(log: Log) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * T):
            await say(log, "work", 2 * T)
    log("on")


@program
async def wait_for_as_long_as_the_work_gives_up_first(log: Log) -> None:
    log(await error_from(asyncio.wait_for(say(log, "work", 2 * T), 2 * T)))


@program
async def the_outer_timeout_wins_when_it_is_shorter(log: Log) -> None:
    try:
        async with asyncio.timeout(T) as outer:
            try:
                async with asyncio.timeout(LONG) as inner:
                    await asyncio.sleep(LONG)
            except TimeoutError:
                log("inner")
    except TimeoutError:
        log("outer")
    log((outer.expired(), inner.expired()))


@program
async def a_timeout_may_be_moved(log: Log) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(T) as limit:
        limit.reschedule(loop.time() + 100 * T)
        await asyncio.sleep(3 * T)
        limit.reschedule(None)
        log(limit.when())
    log(limit.expired())
    log(error_of(lambda: limit.reschedule(None)))
    try:
        async with asyncio.timeout(None) as limit:
            limit.reschedule(loop.time() - 1)
            await asyncio.sleep(LONG)
    except TimeoutError:
        log(limit.expired())


@program
async def a_timeout_that_is_past_lets_the_body_begin(log: Log) -> None:
    for delay in (0, -1):
        try:
            async with asyncio.timeout(delay):
                log("body")
                await asyncio.sleep(0)
                log("after one turn")
                await asyncio.sleep(0)
                log("after two turns")
        except TimeoutError:
            log("timeout")
    async with asyncio.timeout(0):
        log("a body that never waits cannot be stopped")


@program
async def a_cancel_from_outside_is_no_timeout(log: Log) -> None:
    async def limited() -> None:
        try:
            async with asyncio.timeout(LONG):
                await asyncio.sleep(LONG)
        except TimeoutError:
            log("wrong")

    task = asyncio.create_task(limited())
    await spin()
    task.cancel("outside")
    log(await error_from(task))


@program
async def wait_for_waits_until_the_cancelled_is_done(log: Log) -> None:
    async def slow_to_stop() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(3 * T)
            log("stopped")

    log(await error_from(asyncio.wait_for(slow_to_stop(), T)))
    log(await asyncio.wait_for(say(log, "quick", T), 50 * T))
    log(await asyncio.wait_for(say(log, "unlimited"), None))


@program
async def wait_for_with_no_time_takes_only_what_is_done(log: Log) -> None:
    future = asyncio.get_running_loop().create_future()
    log(await error_from(asyncio.wait_for(future, 0)))
    log(future.cancelled())
    done = asyncio.get_running_loop().create_future()
    done.set_result("there")
    log(await asyncio.wait_for(done, 0))
    log(await error_from(asyncio.wait_for(fail(log, "bad"), LONG)))


@program
async def a_shield_holds_a_cancel_off(log: Log) -> None:
    inner = asyncio.create_task(say(log, "inner", 4 * T))

    async def outer() -> None:
        await asyncio.shield(inner)

    task = asyncio.create_task(outer())
    await asyncio.sleep(T)
    task.cancel()
    log(await error_from(task))
    log((inner.done(), await inner))
    log(await asyncio.shield(say(log, "nothing happens")))


@program
async def an_error_behind_a_shield_reaches_the_loop(log: Log) -> None:
    hear_errors(log)
    inner = asyncio.create_task(fail(log, "inner", 2 * T))
    shielded = asyncio.shield(inner)
    await spin()
    shielded.cancel()
    log(await error_from(shielded))
    await asyncio.sleep(6 * T)


# ------------------------------------------------------------------------------------- waiting for several


@program
async def gather_returns_in_the_order_given(log: Log) -> None:
    log(await asyncio.gather(say(log, "slow", 8 * T), say(log, "quick", 2 * T), say(log, "now")))
    log(await asyncio.gather())


@program
async def gather_passes_the_first_error_on_and_stops_nobody(log: Log) -> None:
    slow = asyncio.create_task(say(log, "slow", 8 * T))
    log(await error_from(asyncio.gather(slow, fail(log, "one", T), fail(log, "two", 4 * T))))
    await slow
    log("end")


@program
async def gather_can_return_errors_as_values(log: Log) -> None:
    sleeper = asyncio.create_task(asyncio.sleep(LONG))
    asyncio.get_running_loop().call_later(2 * T, sleeper.cancel)
    found = await asyncio.gather(fail(log, "bad", T), say(log, "good"), sleeper, return_exceptions=True)
    log([repr(one) for one in found])


@program
async def a_cancelled_gather_cancels_its_children(log: Log) -> None:
    both = asyncio.gather(say(log, "a", LONG), say(log, "b", LONG))
    await asyncio.sleep(T)
    log(both.cancel("all of you"))
    log(await error_from(both))


@program
async def gather_runs_what_is_given_twice_once(log: Log) -> None:
    task = asyncio.create_task(say(log, "once", T))
    log(await asyncio.gather(task, task, say(log, "other")))


@program
async def wait_returns_when_the_first_is_done(log: Log) -> None:
    tasks = [asyncio.create_task(say(log, n, n * 6 * T), name=str(n)) for n in (3, 1, 2)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    log((names(done), names(pending)))
    done, pending = await asyncio.wait(pending, timeout=2 * T)
    log((names(done), names(pending)))
    done, pending = await asyncio.wait(tasks)
    log((names(done), names(pending)))


def names(tasks: Any) -> list[str]:
    return sorted(task.get_name() for task in tasks)


@program
async def wait_returns_at_the_first_error(log: Log) -> None:
    tasks = [
        asyncio.create_task(one) for one in (say(log, "a", T), fail(log, "b", 4 * T), say(log, "c", LONG))
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    log((len(done), len(pending), [repr(task.exception()) for task in tasks[:2]]))
    tasks[2].cancel()
    log(await error_from(tasks[2]))
    log(await error_from(asyncio.wait([])))


@program
async def as_completed_yields_by_completion(log: Log) -> None:
    for one in asyncio.as_completed([say(log, n, n * 5 * T) for n in (3, 1, 2)]):
        log(("got", await one))


@program
async def as_completed_gives_up_after_its_timeout(log: Log) -> None:
    late = asyncio.create_task(say(log, "late", LONG))
    for one in asyncio.as_completed([late, say(log, "early", T)], timeout=6 * T):
        log(await error_from(one))
    log(late.done())
    late.cancel()


# --------------------------------------------------------------------------------------------- task groups


@program
async def a_task_group_waits_for_all(log: Log) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(say(log, "first", 5 * T))
        second = group.create_task(say(log, "second", T))
        log("body ends")
    log((first.result(), second.result()))


@program
async def a_failing_task_stops_its_group(log: Log) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(say(log, "sibling", LONG))
            group.create_task(fail(log, "culprit", T))
            await say(log, "body", LONG)
    except* ValueError as errors:
        log((repr(errors.exceptions), str(errors)))
    task = asyncio.current_task()
    assert task is not None
    log(task.cancelling())


@program
async def errors_of_nested_groups_nest(log: Log) -> None:
    async def inner() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(log, "deep", T))
            group.create_task(say(log, "neighbour", LONG))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner())
            group.create_task(say(log, "far neighbour", LONG))
    except BaseExceptionGroup as errors:
        log(repr(errors))


@program
async def a_cancelled_child_does_not_stop_its_group(log: Log) -> None:
    async with asyncio.TaskGroup() as group:
        child = group.create_task(say(log, "child", LONG))
        group.create_task(say(log, "sibling", 4 * T))
        await asyncio.sleep(T)
        child.cancel()
    log(child.cancelled())


@program
async def an_error_of_the_body_stops_the_group(log: Log) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(say(log, "child", LONG))
            await asyncio.sleep(T)
            raise KeyError("body")
    except* KeyError as errors:
        log(repr(errors.exceptions))
    coroutine = say(log, "too late")
    log(re.sub("<.*>", "<>", error_of(lambda: group.create_task(coroutine))))
    coroutine.close()


@program
async def a_cancelled_group_cancels_its_tasks(log: Log) -> None:
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(say(log, "member", LONG))

    task = asyncio.create_task(grouped())
    await asyncio.sleep(T)
    task.cancel("from outside")
    log(await error_from(task))


# ------------------------------------------------------------------------------------ locks and their kin


@program
async def a_lock_is_fair(log: Log) -> None:
    lock = asyncio.Lock()

    async def hold(name: str) -> None:
        for _ in range(2):
            async with lock:
                log((name, lock.locked()))
                await asyncio.sleep(T / 10)

    await asyncio.gather(*(hold(name) for name in "abc"))
    log((lock.locked(), error_of(lock.release)))


@program
async def a_cancelled_waiter_does_not_lose_the_lock(log: Log) -> None:
    lock = asyncio.Lock()
    await lock.acquire()

    async def hold(name: str) -> None:
        async with lock:
            log(name)

    first, second = asyncio.create_task(hold("first")), asyncio.create_task(hold("second"))
    await spin()
    lock.release()
    first.cancel()
    log(await error_from(first))
    await second


@program
async def a_semaphore_lets_as_many_in_as_it_has(log: Log) -> None:
    semaphore = asyncio.BoundedSemaphore(2)

    async def enter(n: int) -> None:
        async with semaphore:
            log(("in", n, semaphore.locked()))
            await asyncio.sleep(3 * T)

    await asyncio.gather(*(enter(n) for n in range(5)))
    log(error_of(semaphore.release))


@program
async def an_event_wakes_all_in_order(log: Log) -> None:
    event = asyncio.Event()

    async def wait(n: int) -> None:
        await event.wait()
        log(n)

    tasks = [asyncio.create_task(wait(n)) for n in range(3)]
    await spin()
    event.set()
    event.clear()
    log((event.is_set(), "set and cleared"))
    await asyncio.gather(*tasks)


@program
async def a_condition_notifies_as_many_as_told(log: Log) -> None:
    condition = asyncio.Condition()
    stock: list[int] = []

    async def consumer(name: str) -> None:
        async with condition:
            await condition.wait_for(lambda: stock)
            log((name, stock.pop(0)))

    tasks = [asyncio.create_task(consumer(name)) for name in "abc"]
    await spin()
    for goods in ([1], [2, 3]):
        async with condition:
            stock.extend(goods)
            condition.notify(len(goods))
            log("notified")
        await asyncio.sleep(T)
    await asyncio.gather(*tasks)
    log(error_of(condition.notify))


@program
async def a_barrier_lets_all_go_together(log: Log) -> None:
    barrier = asyncio.Barrier(3)

    async def arrive(n: int) -> None:
        await asyncio.sleep(n * 4 * T)
        log((n, "arrives", barrier.n_waiting))
        log((n, "leaves as", await barrier.wait()))

    await asyncio.gather(*(arrive(n) for n in range(3)))
    waiter = asyncio.create_task(error_from(barrier.wait()))  # type: ignore[arg-type]
    await spin()
    await barrier.abort()
    log((await waiter, barrier.broken))


# ------------------------------------------------------------------------------------------------- queues


@program
async def a_full_queue_holds_the_producer_up(log: Log) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(2)

    async def produce() -> None:
        for n in range(5):
            await queue.put(n)
            log(("put", n, queue.qsize()))

    async def consume() -> None:
        for _ in range(5):
            log(("got", await queue.get()))
            await asyncio.sleep(T / 10)
            queue.task_done()

    producer, consumer = asyncio.create_task(produce()), asyncio.create_task(consume())
    await producer
    await queue.join()
    await consumer
    log((queue.empty(), error_of(queue.task_done), error_of(queue.get_nowait)))


@program
async def queues_of_other_orders(log: Log) -> None:
    for kind in (asyncio.PriorityQueue, asyncio.LifoQueue):
        queue: asyncio.Queue[int] = kind(4)
        for n in (2, 1, 3, 0):
            queue.put_nowait(n)
        log(error_of(lambda queue=queue: queue.put_nowait(9)))  # type: ignore[misc]
        log([await queue.get() for _ in range(4)])


@program
async def an_item_goes_to_the_getter_that_still_waits(log: Log) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def get(name: str) -> None:
        log((name, await queue.get()))

    first, second = asyncio.create_task(get("first")), asyncio.create_task(get("second"))
    await spin()
    queue.put_nowait("item")
    first.cancel()
    log(await error_from(first))
    await second


@since((3, 13))
async def a_queue_may_be_shut_down(log: Log) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    getter = asyncio.create_task(error_from(queue.get()))  # type: ignore[arg-type]
    await spin()
    queue.shutdown()  # type: ignore[attr-defined]
    log(await getter)
    log(error_of(lambda: queue.put_nowait("late")))


# -------------------------------------------------------------------------------------- futures and tasks


@program
async def callbacks_of_a_future_run_in_order_and_later(log: Log) -> None:
    future = asyncio.get_running_loop().create_future()
    for n in range(3):
        future.add_done_callback(lambda done, n=n: log((n, done.result())))  # type: ignore[misc]
    future.add_done_callback(log)
    log(future.remove_done_callback(log))
    future.set_result("value")
    log(("callbacks have not run yet", error_of(lambda: future.set_result(2))))
    await asyncio.sleep(0)
    future.add_done_callback(lambda _: log("late"))
    await spin()


@program
async def how_many_turns_an_await_takes(log: Log) -> None:
    """A clock that counts turns shows it: what is done already takes none, a task two, a chain of tasks more."""
    turn = 0

    async def clock() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def chain(length: int) -> None:
        if length:
            await asyncio.create_task(chain(length - 1))

    ticking = asyncio.create_task(clock())
    await spin()
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    lock, queue = asyncio.Lock(), asyncio.Queue[int]()
    for what, wait in (
        ("done", lambda: done),
        ("coroutine", lambda: chain(0)),
        ("task", lambda: asyncio.create_task(chain(0))),
        ("chain", lambda: asyncio.create_task(chain(3))),
        ("gather", lambda: asyncio.gather(chain(0), chain(1))),
        ("lock", lock.acquire),
        ("queue", lambda: queue.put(1)),
        ("shield", lambda: asyncio.shield(chain(0))),
        ("wait_for", lambda: asyncio.wait_for(chain(1), LONG)),
    ):
        before = turn
        await wait()  # type: ignore[no-untyped-call]
        log((what, turn - before))
    ticking.cancel()


@program
async def tasks_answer_questions(log: Log) -> None:
    async def ask() -> None:
        task = asyncio.current_task()
        assert task is not None
        log((task.get_name(), task in asyncio.all_tasks(), len(asyncio.all_tasks())))
        task.set_name("renamed")

    task = asyncio.create_task(ask(), name="asker")
    log((task.done(), error_of(task.result), error_of(task.exception), isinstance(task, asyncio.Task)))
    await task
    log(
        (
            task.get_name(),
            task.result(),
            task.exception(),
            asyncio.isfuture(task),
            task in asyncio.all_tasks(),
        )
    )
    log((error_of(lambda: task.set_result(1)), error_of(lambda: task.set_exception(ValueError()))))
    log(error_of(lambda: asyncio.ensure_future(1)))  # type: ignore[call-overload]


@program
async def an_error_that_nobody_retrieves_is_reported(log: Log) -> None:
    hear_errors(log)
    task = asyncio.create_task(fail(log, "lost", T))
    await asyncio.sleep(4 * T)
    del task
    gc.collect()
    await spin()


@program
async def a_coroutine_must_not_raise_stop_iteration(log: Log) -> None:
    async def stops() -> None:
        raise StopIteration

    log(await error_from(asyncio.create_task(stops())))
    log(error_of(lambda: asyncio.get_running_loop().create_future().set_exception(StopIteration)))


@program
async def every_one_who_awaits_a_task_gets_its_error(log: Log) -> None:
    task = asyncio.create_task(fail(log, "bad", T))
    for _ in range(2):
        try:
            await task
        except ValueError as error:
            frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            log((error is task.exception(), frames[0]))


@program
async def the_traceback_of_an_error_begins_where_its_task_does(log: Log) -> None:
    task = asyncio.create_task(fail(log, "bad", T))
    await asyncio.wait([task])
    error = task.exception()
    assert error is not None
    log([frame.name for frame in traceback.extract_tb(error.__traceback__)])


@program
async def two_tasks_await_one(log: Log) -> None:
    shared = asyncio.create_task(say(log, "shared", T))
    log(await asyncio.gather(*(asyncio.wait_for(asyncio.shield(shared), LONG) for _ in range(2))))


@program
async def a_task_cannot_await_itself(log: Log) -> None:
    box: list[asyncio.Task[object]] = []

    async def selfish() -> object:
        return await box[0]

    box.append(asyncio.create_task(selfish()))
    log(re.sub(r"<.*>", "<>", await error_from(box[0])))


@program
async def other_awaitables_are_told_apart(log: Log) -> None:
    class Yields:
        def __init__(self, what: object) -> None:
            self.what = what

        def __await__(self) -> Any:
            return (yield self.what)

    for what in (None, "text", 1):
        log(await error_from(Yields(what)))


# ----------------------------------------------------------------------------------- async generators


@program
async def an_async_generator_is_closed_where_it_is_left(log: Log) -> None:
    async def numbers() -> Any:
        try:
            for n in range(10):
                yield n
                await asyncio.sleep(T / 10)
        finally:
            await asyncio.sleep(T)
            log("closed")

    async with contextlib.aclosing(numbers()) as found:
        async for n in found:
            log(n)
            if n == 2:
                break
    log([n async for n in numbers() if n > 7])


@program
async def a_forgotten_generator_is_closed_by_the_loop(log: Log) -> None:
    async def forgotten() -> Any:
        try:
            yield "item"
        finally:
            log("closing")
            await asyncio.sleep(T)
            log("closed")

    async for item in forgotten():
        log(item)
        break
    gc.collect()
    await asyncio.sleep(4 * T)
    log("end")


@program
async def a_generator_in_use_is_closed_when_the_loop_shuts_down(log: Log) -> None:
    async def endless() -> Any:
        try:
            while True:
                yield "item"
        finally:
            await asyncio.sleep(0)
            log("closed at shutdown")

    used = endless()
    log(await anext(used))
    asyncio.get_running_loop().kept = used  # type: ignore[attr-defined]  # so that it lives until then


@program
async def a_generator_takes_what_is_thrown_into_it(log: Log) -> None:
    async def echo() -> Any:
        sent = None
        while True:
            try:
                sent = yield sent
            except ValueError as error:
                sent = repr(error)

    generator = echo()
    log(await generator.asend(None))
    log(await generator.asend("hello"))
    log(await generator.athrow(ValueError("thrown")))
    await generator.aclose()
    log(await anext(generator, "exhausted"))


# ---------------------------------------------------------------------------------------- context variables


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@program
async def a_task_has_a_copy_of_its_creators_context(log: Log) -> None:
    async def child(name: str) -> None:
        log((name, VARIABLE.get()))
        VARIABLE.set(name)
        await asyncio.sleep(0)
        log((name, VARIABLE.get()))

    VARIABLE.set("parent")
    await asyncio.gather(child("a"), child("b"))
    log(VARIABLE.get())


@program
async def callbacks_run_in_the_context_of_their_making(log: Log) -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    VARIABLE.set("then")
    for schedule in (loop.call_soon, lambda call: loop.call_later(T, call), future.add_done_callback):
        schedule(lambda *_: log(VARIABLE.get()))  # type: ignore[operator]
    other = contextvars.copy_context()
    other.run(VARIABLE.set, "other")
    loop.call_soon(lambda: log(VARIABLE.get()), context=other)
    VARIABLE.set("now")
    future.set_result(None)
    await asyncio.sleep(3 * T)
    await loop.create_task(say(log, "in a context"), context=other)


@program
async def a_context_given_to_a_task_is_not_copied(log: Log) -> None:
    async def child() -> None:
        VARIABLE.set("by the child")
        await asyncio.sleep(T)

    context = contextvars.copy_context()
    await asyncio.create_task(child(), context=context)
    log((VARIABLE.get(), context[VARIABLE]))


# ------------------------------------------------------------------------------------------------- threads


@program
async def blocking_code_runs_beside_the_loop(log: Log) -> None:
    def block(seconds: float) -> str:
        time.sleep(seconds)
        log(("slept", seconds))
        return VARIABLE.get()

    VARIABLE.set("inherited")
    blocking = asyncio.gather(asyncio.to_thread(block, 12 * T), asyncio.to_thread(block, 4 * T))
    await say(log, "the loop runs on", T)
    log(await blocking)
    log(await error_from(asyncio.to_thread(int, "not a number")))


@program
async def an_executor_runs_no_more_at_once_than_it_may(log: Log) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(n: int) -> int:
        log(("begins", n))
        time.sleep(5 * T)
        return n

    with ThreadPoolExecutor(1) as executor:
        loop = asyncio.get_running_loop()
        log(await asyncio.gather(*(loop.run_in_executor(executor, work, n) for n in range(3))))


@program
async def the_run_waits_for_blocking_code_that_nobody_awaits(log: Log) -> None:
    def block() -> None:
        time.sleep(5 * T)
        log("the thread ends")

    asyncio.get_running_loop().run_in_executor(None, block)
    await say(log, "main ends", T)


@program
async def a_thread_may_run_coroutines_in_the_loop(log: Log) -> None:
    loop = asyncio.get_running_loop()

    def outside() -> None:
        log("thread")
        future = asyncio.run_coroutine_threadsafe(say(log, "coroutine", T), loop)
        log(("result", future.result()))
        failing = asyncio.run_coroutine_threadsafe(fail(log, "bad"), loop)
        log(error_of(failing.result))
        log(error_of(asyncio.get_running_loop))

    await asyncio.to_thread(outside)


@program
async def a_thread_wakes_the_loop(log: Log) -> None:
    loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def outside() -> None:
        time.sleep(2 * T)
        loop.call_soon_threadsafe(future.set_result, threading.current_thread().name)

    thread = threading.Thread(target=outside, name="outside")
    thread.start()
    log(await future)
    thread.join()
    log(thread.is_alive())


@program
async def a_thread_has_a_loop_of_its_own(log: Log) -> None:
    def outside() -> None:
        log(asyncio.run(asyncio.wait_for(say(log, "another loop", T), LONG)))

    await asyncio.to_thread(outside)


# ------------------------------------------------------------------------------- debug mode and eager tasks


@program
async def debug_mode_complains_of_code_that_blocks(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 10 * T

    async def blocks(steps: int) -> None:
        time.sleep(steps * T)

    with complaints(log):
        loop.call_soon(time.sleep, 12 * T)
        await spin()
        await asyncio.create_task(blocks(14))
        await asyncio.create_task(blocks(1))
        await spin()


@contextlib.contextmanager
def complaints(log: Log) -> Any:
    """Log what asyncio's logger says, without what differs from run to run."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = re.sub(r"took (\d+\.\d\d)\d seconds", "took long", record.getMessage())
            log(re.sub(r"(<\w+).*>", r"\1>", text))

    logger, listener = logging.getLogger("asyncio"), Listener()
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)


@program
async def without_a_handler_errors_are_logged(log: Log) -> None:
    with complaints(log):
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await spin()
        asyncio.get_running_loop().call_exception_handler({"message": "own words", "custom": 1})


@program
async def debug_mode_wants_coroutines_awaited_and_callbacks_callable(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    log(error_of(lambda: loop.call_soon("text")))  # type: ignore[arg-type]
    log(error_of(lambda: loop.call_later(1, say)))  # type: ignore[arg-type]
    log(error_of(lambda: loop.run_in_executor(None, say)))  # type: ignore[arg-type]


@since((3, 12))
async def eager_tasks_run_until_they_first_wait(log: Log) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]

    async def eager(name: str, *, waits: bool) -> str:
        log(name)
        if waits:
            await asyncio.sleep(T)
            log((name, "on"))
        return name

    quick = asyncio.create_task(eager("quick", waits=False))
    slow = asyncio.create_task(eager("slow", waits=True))
    log((quick.done(), slow.done(), asyncio.current_task() is quick))
    log(await asyncio.gather(quick, slow, eager("third", waits=False)))
    async with asyncio.TaskGroup() as group:
        group.create_task(eager("grouped", waits=True))
    log(await error_from(asyncio.create_task(fail(log, "bad"))))


@since((3, 12))
async def tasks_of_a_factory_of_the_users_own_run_too(log: Log) -> None:
    class Own(asyncio.Task):  # type: ignore[type-arg]
        pass

    asyncio.get_running_loop().set_task_factory(lambda loop, coro, **options: Own(coro, loop=loop, **options))
    task = asyncio.create_task(say(log, "own", T))
    log(type(task).__name__)
    log(await asyncio.gather(task, say(log, "other")))
    log(await error_from(asyncio.wait_for(say(log, "late", LONG), T)))


@program
async def a_task_may_be_made_without_the_loops_factory(log: Log) -> None:
    task = asyncio.Task(say(log, "direct", T))
    log(await asyncio.gather(task, say(log, "other")))


# ------------------------------------------------------------------------------------------------ streams


@program
async def a_stream_reader_waits_for_what_is_fed(log: Log) -> None:
    reader = asyncio.StreamReader()

    async def feed() -> None:
        for data in (b"one\ntw", b"o\nrest"):
            await asyncio.sleep(T)
            reader.feed_data(data)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    log([await reader.readline(), await reader.readline(), await reader.read(), reader.at_eof()])
    await feeding


# --------------------------------------------------------------------------------------------------- ends


@program
async def a_task_that_is_left_is_cancelled_at_the_end(log: Log) -> None:
    async def left() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(T)
            log("told to end")
            raise

    asyncio.create_task(left())
    await asyncio.sleep(0)
    log("main ends")
