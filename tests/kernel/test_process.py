"""Simulated processes: a crash is total, a restart begins anew."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
import weakref

import pytest

from wfsim.errors import DesignError, ProcessCrashed
from wfsim.kernel import Simulation, crash, current, now, perform, sleep, span, spawn, start_process


def run(main, *args):
    simulation = Simulation()
    return simulation.run(main, *args), simulation.recorder.history()


def test_a_crash_runs_no_finally_and_no_except_of_any_kind_of_code():
    """finally, except, context managers, async generators and task groups of the crashed stay silent."""
    log: list[str] = []

    class Guard:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_error):
            log.append("aexit")

        def __enter__(self):
            return self

        def __exit__(self, *_error):
            log.append("exit")

    async def numbers():
        try:
            for i in range(100):
                yield i
                await asyncio.sleep(1)
        finally:
            log.append("generator")

    async def child():
        try:
            await asyncio.sleep(50)
        except BaseException:
            log.append("child")
            raise

    async def victim():
        with Guard():
            async with Guard(), asyncio.TaskGroup() as group:
                group.create_task(child())
                spawn(child())
                try:
                    async for _ in numbers():
                        pass
                finally:
                    log.append("finally")

    async def main():
        process = start_process("victim", victim)
        await sleep(10.5)
        process.crash()
        await sleep(100)
        return "main"

    outcome, _ = run(main)
    assert outcome.value == "main"
    assert log == []


def test_what_crashed_stays_silent_when_the_interpreter_ends():
    """Not even the end of the interpreter runs a crashed process's finally blocks."""
    program = """
import asyncio
from wfsim.kernel import Simulation, sleep, start_process

async def victim():
    try:
        await asyncio.sleep(50)
    finally:
        print("finally")

async def main():
    process = start_process("victim", victim)
    await sleep(1)
    process.crash()

print(Simulation().run(main).name)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "ok\n"
    assert done.stderr == ""


def test_a_crash_stops_timers_and_other_processes_go_on():
    """Callbacks that the crashed process had set never fire; those of others do."""
    log: list[str] = []

    async def ticking(name: str):
        asyncio.get_running_loop().call_later(5, log.append, name)
        await asyncio.sleep(100)

    async def main():
        start_process("a", ticking, "a")
        start_process("b", ticking, "b")
        await sleep(1)
        await crash("a")
        await sleep(10)

    run(main)
    assert log == ["b"]


def test_a_restart_calls_the_function_anew():
    """After a crash with restart the function starts from its beginning; its value is the process's."""
    starts: list[float] = []

    async def worker(disk: list[int]) -> list[int]:
        starts.append(now())
        while len(disk) < 3:
            await sleep(2)
            disk.append(len(disk))
        return disk

    async def main():
        process = start_process("worker", worker, [])
        await sleep(3)
        process.crash(restart_after=10)
        assert not process.alive
        return await process, process.incarnation

    outcome, history = run(main)
    assert outcome.value == ([0, 1, 2], 2)
    assert starts == [0.0, 13.0]
    assert [(op.name, op.time_ns) for op in history if op.kind == "process"] == [
        ("crash", 3_000_000_000),
        ("restart", 13_000_000_000),
    ]


def test_who_awaits_a_process_that_crashed_for_good_hears_of_it():
    """Without a restart, awaiting the process raises ProcessCrashed with its name."""

    async def main():
        process = start_process("worker", asyncio.sleep, 10)
        await sleep(1)
        process.crash()
        with pytest.raises(ProcessCrashed, match="worker"):
            await process

    assert run(main)[0].name == "ok"


def test_a_process_that_crashes_itself_never_goes_on():
    """`await crash(own name)` does not return, and runs nothing after it."""
    log: list[str] = []

    async def suicidal():
        try:
            await crash("it")
            log.append("after")
        finally:
            log.append("finally")

    async def main():
        start_process("it", suicidal)
        await sleep(5)

    run(main)
    assert log == []


def test_the_main_process_may_crash():
    """A main that crashes for good ends the run as "crashed"; a restarted one gives the run its value."""

    async def main(memory: list[int]):
        memory.append(1)
        await sleep(1)
        if len(memory) == 1:
            await crash("main", 2)
        return now()

    assert run(main, [])[0].value == 4.0

    async def dies():
        await crash("main")

    assert run(dies)[0].name == "crashed"


@pytest.mark.parametrize("primitive", ["queue", "lock", "semaphore", "condition"])
def test_the_dead_give_up_their_place_in_line(primitive):
    """An item or a turn is not handed to a process that crashed while it waited for one."""

    async def main():
        queue, lock, semaphore = asyncio.Queue(), asyncio.Lock(), asyncio.Semaphore(0)
        condition = asyncio.Condition()

        async def waits():
            if primitive == "queue":
                return await queue.get()
            if primitive == "lock":
                return await lock.acquire()
            if primitive == "semaphore":
                return await semaphore.acquire()
            async with condition:
                return await condition.wait()

        await lock.acquire()
        dead = start_process("dead", waits)
        await sleep(1)
        living = start_process("living", waits)
        await sleep(1)
        dead.crash()
        queue.put_nowait(True)
        lock.release()
        semaphore.release()
        async with condition:
            condition.notify()
        return await living

    assert run(main)[0].value is True


def test_a_promise_to_a_crashed_process_can_still_be_kept():
    """A reply to a client that crashed meanwhile goes nowhere and harms nobody."""

    async def main():
        reply = asyncio.get_running_loop().create_future()

        async def client():
            return await reply

        process = start_process("client", client)
        await sleep(1)
        process.crash()
        reply.set_result("too late")
        await sleep(1)
        return "fine"

    assert run(main)[0].value == "fine"


def test_names_are_unique_among_the_living():
    """Two live processes cannot share a name; an unknown name to crash is answered with the known ones."""

    async def main():
        start_process("a", sleep, 5)
        with pytest.raises(DesignError, match="'a' is running already"):
            start_process("a", sleep, 5)
        with pytest.raises(DesignError, match="there are: a, main"):
            await crash("b")

    assert run(main)[0].name == "ok"


def test_operations_carry_the_process_that_did_them():
    """Tasks that a process starts belong to it, and so do their records."""
    from wfsim.kernel import effect

    async def inner():
        effect("inner")

    async def worker():
        await asyncio.create_task(inner())
        await spawn(inner())

    async def main():
        effect("outer")
        await start_process("worker", worker)
        assert current() is not None

    _, history = run(main)
    assert [op.process for op in history] == ["main", "worker", "worker"]


def nap() -> None:
    try:
        time.sleep(1000)
    finally:
        RAN.append("finally")


async def doze() -> None:
    try:
        async with asyncio.timeout(5000):
            await asyncio.gather(asyncio.sleep(1000), asyncio.Event().wait())
    finally:
        RAN.append("finally")


async def in_operations() -> None:
    with span("saga", "order", "order"):
        await perform("step", "order", "pay", doze)


async def in_a_blocking_operation() -> None:
    await perform("step", "order", "pay", nap)


async def in_a_thread() -> None:
    await asyncio.to_thread(nap)


async def in_a_loop_of_a_thread() -> None:
    await asyncio.to_thread(lambda: asyncio.run(doze()))


async def in_a_light_task() -> None:
    await spawn(doze())


async def in_a_queue_and_a_sleep() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    await asyncio.wait([asyncio.ensure_future(queue.get()), asyncio.ensure_future(sleep(1000))])


RAN: list[str] = []


@pytest.mark.parametrize(
    "work",
    [
        doze,
        nap,
        in_operations,
        in_a_blocking_operation,
        in_a_thread,
        in_a_loop_of_a_thread,
        in_a_light_task,
        in_a_queue_and_a_sleep,
    ],
)
def test_what_crashed_does_not_keep_the_simulation(work):
    """The frames of the crashed stay for ever and run no `finally`; the simulation and its history do not stay."""

    async def main() -> None:
        start_process("part", work)
        await asyncio.sleep(1)
        await crash("part")

    simulation = Simulation()
    gone = weakref.ref(simulation), weakref.ref(simulation.environment)
    assert simulation.run(main).name == "ok"
    del simulation
    gc.collect()
    assert [one() for one in gone] == [None, None]
    assert RAN == []
