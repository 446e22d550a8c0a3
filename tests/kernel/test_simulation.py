"""A simulation: outcomes, bounds, deadlocks, determinism, and a world that is put back."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress

import pytest
import simpy

from wfsim.errors import Deadlock, RealIOError
from wfsim.kernel import Bounds, Simulation, _patching, current, effect, now, sleep, spawn, start_process


def run(main, *args, **options):
    """Run `main` in a fresh simulation."""
    return Simulation(**options).run(main, *args)


def test_the_outcome_is_the_value_or_the_error():
    """A run that returns is "ok" with the value; one that raises is "error" with the exception itself."""

    async def returns(x: int) -> int:
        await sleep(3)
        return x + 1

    async def raises() -> None:
        raise KeyError("gone")

    good = run(returns, 1)
    assert (good.name, good.value, good.error, good.duration_ns) == ("ok", 2, None, 3_000_000_000)
    bad = run(raises)
    assert (bad.name, bad.value) == ("error", None)
    assert isinstance(bad.error, KeyError)


def test_a_plain_function_runs_too():
    """A main function that is not async runs as blocking code in virtual time."""

    def main() -> float:
        time.sleep(100)
        return time.monotonic()

    outcome = run(main)
    assert outcome.value == 100.0


def test_a_deadlock_ends_the_run_at_once_and_names_each_wait():
    """Nothing scheduled, tasks waiting: the outcome lists what each waits for, and the user's line."""

    async def consumer(queue: asyncio.Queue) -> None:
        await queue.get()

    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        waiting = asyncio.create_task(consumer(asyncio.Queue()), name="consumer")
        await asyncio.sleep(2)
        spawn(lock.acquire())
        await waiting

    outcome = run(main)
    assert outcome.name == "deadlock"
    assert outcome.duration_ns == 2_000_000_000
    told = {one.task: one for one in outcome.waiting}
    assert told["consumer"].waits_for == "Queue.get"
    assert told["consumer"].where.endswith("consumer")
    assert "test_simulation.py:" in told["consumer"].where
    assert told["main"].waits_for == "task 'consumer'"
    assert any(one.waits_for == "Lock.acquire" for one in outcome.waiting)
    assert "consumer waits for Queue.get" in "".join(outcome.error.__notes__)


def test_a_deadlock_names_what_its_author_wrote():
    """Not the innermost helper of the library, but what the code calls; also inside an async generator."""

    async def numbers():
        yield 1
        await asyncio.Queue().get()

    async def first():
        async for _ in numbers():
            pass

    async def second():
        last = numbers()
        await anext(last)
        await anext(last, None)

    async def third():
        await asyncio.Barrier(2).wait()

    async def fourth():
        await asyncio.wait([asyncio.get_running_loop().create_future()])

    async def fifth():
        await simpy.Event(current().environment)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for function in (first, second, third, fourth, fifth):
                group.create_task(function(), name=function.__name__)

    told = {one.task: (one.waits_for, one.where.rpartition(".")[2]) for one in run(main).waiting}
    assert told.pop("main") == ("TaskGroup.__aexit__", "main")
    assert told == {
        "first": ("Queue.get", "numbers"),
        "second": ("Queue.get", "numbers"),
        "third": ("Barrier.wait", "third"),
        "fourth": ("asyncio.wait", "fourth"),
        "fifth": ("SimPy's Event", "fifth"),
    }


def test_a_sleep_is_called_what_its_author_called_it():
    """`asyncio.sleep` is wfsim's own within a run, and its author need not know."""

    async def theirs():
        await asyncio.sleep(100)

    async def ours():
        await sleep(100)

    async def main() -> None:
        await asyncio.gather(*(asyncio.create_task(one(), name=one.__name__) for one in (theirs, ours)))

    outcome = run(main, bounds=Bounds(time_ns=10**9))
    told = {one.task: one.waits_for for one in outcome.waiting}
    assert (told["theirs"], told["ours"]) == ("asyncio.sleep", "wfsim.sleep")


@pytest.mark.parametrize("moment", ["install", "restore"])
def test_ctrl_c_never_finds_the_world_half_in_place(monkeypatch, moment):
    """It is heard before the run begins or after all is put back, and the next run is as any other."""
    original, ran = getattr(_patching, moment), []

    def interrupted():
        signal.raise_signal(signal.SIGINT)
        original()
        signal.raise_signal(signal.SIGINT)

    before = time.time, time.sleep, threading.Lock, random.getstate(), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(_patching, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(lambda: ran.append(1))
    assert ran == ([] if moment == "install" else [1])
    assert before == (
        time.time,
        time.sleep,
        threading.Lock,
        random.getstate(),
        signal.getsignal(signal.SIGINT),
    )
    assert run(lambda: time.sleep(5)).duration_ns == 5 * 10**9


def test_ctrl_c_is_heard_inside_a_run():
    """Code that runs long is interrupted at once; so is what runs after a handler of the run's own."""

    def work():
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was not heard")

    def handles():
        heard = []
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
        signal.raise_signal(signal.SIGINT)
        return heard

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(work)
    assert run(handles).value == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_seed_is_a_whole_number():
    """Anything that counts as one will do; a text is refused before anything runs."""
    assert Simulation(seed=True).seed == 1
    with pytest.raises(TypeError, match="a seed is a whole number, got '7'"):
        Simulation(seed="7")


def test_timeouts_that_were_cancelled_do_not_delay_a_deadlock():
    """A cancelled timer an hour ahead does not make the clock run there before the deadlock is seen."""

    async def main() -> None:
        async with asyncio.timeout(3600):
            await asyncio.sleep(1)
        await asyncio.get_running_loop().create_future()

    outcome = run(main)
    assert (outcome.name, outcome.duration_ns) == ("deadlock", 1_000_000_000)


def test_virtual_time_has_a_bound():
    """A run that would go on for ever ends at its bound of virtual time, by that name."""

    async def main() -> None:
        while True:
            await asyncio.sleep(7)

    outcome = run(main, bounds=Bounds(time_ns=100 * 10**9))
    assert (outcome.name, outcome.duration_ns) == ("max_time", 100 * 10**9)


def test_the_number_of_steps_has_a_bound():
    """A run that takes too many steps ends as "max_steps", exactly at the bound."""

    async def main() -> None:
        while True:
            await asyncio.sleep(1e-9)

    outcome = run(main, bounds=Bounds(steps=25_000))
    assert (outcome.name, outcome.steps) == ("max_steps", 25_000)


@pytest.mark.parametrize("spin", ["sleep", "callbacks", "timers", "simpy"])
def test_steps_without_progress_of_time_are_a_livelock(spin):
    """Tasks, callbacks, zero timers and SimPy events that spin at one instant are all found out."""

    async def main() -> None:
        loop, env = asyncio.get_running_loop(), current().environment
        if spin == "callbacks":

            def again() -> None:
                loop.call_soon(again)

            again()
        elif spin == "timers":

            def tick() -> None:
                loop.call_later(0, tick)

            tick()
        elif spin == "simpy":

            def process():
                while True:
                    yield env.timeout(0)

            env.process(process())
        else:
            while True:
                await asyncio.sleep(0)
        await asyncio.sleep(1)

    outcome = run(main, bounds=Bounds(stalled_steps=5_000))
    assert outcome.name == "livelock"
    assert outcome.duration_ns == 0


def test_a_task_that_refuses_to_be_cancelled_does_not_hang_the_end():
    """Cleaning up after a run is bounded as well."""

    async def stubborn() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()

    async def main() -> str:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(1)
        assert not task.done()
        return "done"

    assert run(main).value == "done"


def test_an_error_in_a_light_task_is_never_lost():
    """A spawned coroutine that fails and that nobody awaits fails the run."""

    async def fails() -> None:
        raise OSError("unseen")

    async def main() -> None:
        spawn(fails())
        await asyncio.sleep(1)

    outcome = run(main)
    assert outcome.name == "error"
    assert isinstance(outcome.error, OSError)


def test_everything_is_restored_after_a_run_and_after_an_error():
    """time, random, uuid, asyncio's policy and functions are what they were, also after a failed run."""
    before = (
        time.time,
        time.sleep,
        time.monotonic,
        os.urandom,
        uuid.uuid4,
        asyncio.sleep,
        asyncio.as_completed,
    )
    policy, state = asyncio.get_event_loop_policy(), random.getstate()

    async def main() -> None:
        random.random()
        raise ValueError

    for _ in range(2):
        run(main)
        after = (
            time.time,
            time.sleep,
            time.monotonic,
            os.urandom,
            uuid.uuid4,
            asyncio.sleep,
            asyncio.as_completed,
        )
        assert all(a is b for a, b in zip(before, after, strict=True))
        assert asyncio.get_event_loop_policy() is policy
        assert random.getstate() == state
    assert abs(time.time() - 1893456000) > 1e6 or time.time() > 1893456000


def test_a_simulation_runs_once():
    """A second run of one object is refused: its clock and its history belong to the first."""

    async def main() -> None:
        pass

    simulation = Simulation()
    simulation.run(main)
    with pytest.raises(RuntimeError, match="once"):
        simulation.run(main)


def test_a_simulation_inside_another_is_refused():
    """Nesting is refused with a message that says what to do."""

    async def main() -> None:
        Simulation().run(main)

    outcome = run(main)
    assert "await" in str(outcome.error)


def test_real_io_is_refused_with_the_cure():
    """Opening a connection says that it cannot work and what to do instead."""

    async def main() -> None:
        await asyncio.open_connection("localhost", 80)

    error = run(main).error
    assert isinstance(error, RealIOError)
    assert "fake" in str(error)


def test_as_completed_and_wait_keep_one_order():
    """Sets of tasks and futures have one order in every run, though asyncio keeps them in sets."""

    async def job(i: int) -> int:
        await asyncio.sleep(1)
        return i

    async def main() -> list[int]:
        first = [await one for one in asyncio.as_completed([job(i) for i in range(20)])]
        done, _ = await asyncio.wait([asyncio.create_task(job(i)) for i in range(20)])
        return first + [task.result() for task in done]

    runs = [run(main).value for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][:20] == list(range(20))


PROGRAM = """
import asyncio, random, uuid, os, time, sys
from wfsim.kernel import Simulation, effect, start_process, sleep, spawn

async def worker(i):
    await asyncio.sleep(random.expovariate(1.0))
    effect("work", {"id": str(uuid.uuid4()), "bytes": os.urandom(4), "time": time.time(), "i": i})
    if random.random() < 0.2:
        raise ValueError(i)

async def main():
    simulation_tasks = {asyncio.create_task(worker(i)) for i in range(30)}
    done, _ = await asyncio.wait(simulation_tasks)
    for task in done:
        effect("done", task.get_name(), failed=task.exception() is not None)
    process = start_process("other", worker, 99)
    await sleep(0.01)
    process.crash(restart_after=1)
    try:
        await process
    except ValueError:
        effect("failed")

simulation = Simulation(seed=7)
simulation.run(main)
print(simulation.recorder.history().fingerprint())
"""


def fingerprint(python: str, hash_seed: str) -> str:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [python, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def test_a_run_is_the_same_in_another_process_and_hash_seed():
    """Same design and seed: the same history bytes, whatever PYTHONHASHSEED is."""
    prints = {fingerprint(sys.executable, seed) for seed in ("0", "1", "4711")}
    assert len(prints) == 1


def test_the_trace_shows_each_step_of_each_task():
    """With trace=True every resumption is listed with its time, its task and its line."""

    async def main() -> None:
        await asyncio.sleep(1)
        await asyncio.sleep(2)

    simulation = Simulation(trace=True)
    simulation.run(main)
    times = [time_ns for time_ns, task, _ in simulation.trace if task == "main"]
    assert times == [0, 1_000_000_000, 3_000_000_000]
    assert "test_simulation.py" in simulation.trace[1][2]


def test_deadlock_is_raised_where_blocking_code_waits_for_ever():
    """A thread that waits for a lock nobody releases is a deadlock, not a hang."""
    import threading

    def main() -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    outcome = run(main)
    assert outcome.name == "deadlock"
    assert isinstance(outcome.error, Deadlock)


def test_now_counts_from_the_start_of_the_run():
    """now() is 0 at first and moves with the waits."""

    async def main() -> tuple[float, float]:
        first = now()
        await sleep(0.25)
        return first, now()

    assert run(main).value == (0.0, 0.25)


def test_current_is_none_outside():
    """Outside a run there is no simulation, and facts go nowhere."""
    assert current() is None
    effect("nothing")
    with pytest.raises(RuntimeError, match="inside a simulation"):
        start_process("x", print)


def test_nothing_is_recorded_after_a_deadlock():
    """What cancelled tasks do while a hopeless run is cleaned away is no part of its history."""

    async def main() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            effect("too late")

    simulation = Simulation()
    assert simulation.run(main).name == "deadlock"
    assert len(simulation.recorder.history()) == 0


def test_many_steps_are_no_livelock_while_time_moves():
    """A long run with a low bound for stalled steps is fine as long as its clock moves."""

    async def main() -> None:
        for _ in range(5_000):
            await asyncio.sleep(1)

    assert run(main, bounds=Bounds(stalled_steps=100)).name == "ok"


def test_a_run_inside_a_running_loop_is_refused_with_the_cure():
    """A test that is a coroutine cannot start a simulation on its own thread, and is told what to do."""

    async def main() -> None:
        pass

    async def outer() -> None:
        with pytest.raises(RuntimeError, match="to_thread"):
            Simulation().run(main)

    asyncio.run(outer())


def test_a_policy_of_an_earlier_run_makes_no_more_loops():
    """What is kept of a run's event loop policy says that the run has ended, and does not half-work."""

    async def main() -> object:
        return asyncio.get_event_loop_policy()

    policy = run(main).value
    with pytest.raises(RuntimeError, match="ended"):
        policy.new_event_loop()


def test_times_that_floats_cannot_tell_from_now_do_not_stop_the_clock():
    """Code that waits for `time() + 1e-15`, as rate limiters do when they round, gets on."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(129)
        start, moved = loop.time(), loop.create_future()

        def look() -> None:
            if loop.time() - start >= 1e-15:
                moved.set_result(loop.time() - start)
            else:
                loop.call_at(start + 1e-15, look)

        look()
        return await moved

    assert 0 < run(main).value < 1e-6


def test_a_task_shows_what_it_waits_for_as_asyncios_do():
    """`_fut_waiter`, at which anyio looks, is the awaited future until the task goes on, and never None meanwhile."""

    async def waits(future: asyncio.Future) -> None:
        await future

    async def main() -> list[bool]:
        future = asyncio.get_running_loop().create_future()
        waiting, sleeping = asyncio.create_task(waits(future)), asyncio.create_task(asyncio.sleep(9))
        await asyncio.sleep(0)
        first = [waiting._fut_waiter is future, sleeping._fut_waiter.done()]
        future.set_result(None)
        return [*first, waiting._fut_waiter is future, asyncio.current_task()._fut_waiter is None]

    assert run(main).value == [True, False, True, True]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("blocks", [True, False])
def test_an_interrupt_is_raised_and_no_more_said_of_it(kind, blocks, caplog):
    """SystemExit and KeyboardInterrupt leave the run as asyncio.run lets them, after its tasks have ended."""
    seen = []

    async def other() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("finally")

    async def amain() -> None:
        task = asyncio.create_task(other())
        await asyncio.sleep(1)
        raise kind(task)

    def main() -> None:
        asyncio.run(amain())

    simulation = Simulation()
    with pytest.raises(kind):
        simulation.run(main if blocks else amain)
    gc.collect()
    assert seen == ["finally"]
    assert caplog.messages == []
    assert all(loop.is_closed() for loop in simulation.loops)


def test_nobody_complains_of_what_a_deadlock_cancels(caplog):
    """What is cancelled because the run is over is no news; an error that nobody saw still is."""

    async def fails() -> None:
        raise OSError("unseen")

    async def main() -> None:
        group = asyncio.gather(asyncio.Event().wait(), asyncio.Event().wait())
        failed = asyncio.create_task(fails())
        await asyncio.Event().wait()
        del group, failed

    assert run(main).name == "deadlock"
    gc.collect()
    assert [record.exc_info[0] for record in caplog.records] == [OSError]


def test_a_task_that_swallows_every_error_cannot_outlive_the_run() -> None:
    """The run ends at its bound, and the interpreter after it: nothing runs the task on when it is let go."""
    program = (
        "import asyncio, wfsim\n"
        "async def stubborn():\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.sleep(1)\n"
        "        except BaseException:\n"
        "            pass\n"
        "print(wfsim.simulate(stubborn, max_steps=1000).outcome)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "max_steps\n"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="until then asyncio takes generators for coroutines")
def test_a_task_of_a_bare_sleep_is_answered_with_what_to_write():
    """On a plain loop asyncio would refuse it too, so a simulation must not let it pass."""

    async def main():
        asyncio.create_task(sleep(1))

    error = run(main).error
    assert isinstance(error, TypeError)
    assert str(error).endswith("make a task of asyncio.sleep(...) instead")


def test_witnesses_add_notes_to_what_ends_a_run_before_its_end():
    """Whoever knows more of what waits than the kernel does may say so, once and only then."""
    for main, told in ((wait_for_ever, ["the ferry has not come"]), (asyncio.sleep, [])):
        simulation = Simulation()
        simulation.witnesses.append(lambda error: error.add_note("the ferry has not come"))
        outcome = simulation.run(main, *(() if main is wait_for_ever else (1,)))
        notes = getattr(outcome.error, "__notes__", [])
        assert [note for note in notes if "ferry" in note] == told


async def wait_for_ever() -> None:
    await asyncio.Event().wait()
