"""Signals inside a run: a process hears those that it sends to itself, and nobody else does."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

import pytest

from wfsim.errors import RealIOError
from wfsim.kernel import Simulation, as_program, crash, start_process

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")


def simulate(main):
    outcome = Simulation().run(main)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def by_kill(number: int) -> None:
    os.kill(os.getpid(), number)


def by_raise(number: int) -> None:
    signal.raise_signal(number)


SENDERS = [by_raise, by_kill]


@pytest.mark.parametrize("send", SENDERS)
def test_a_loops_handler_is_called_at_the_virtual_instant(send):
    """The handler gets its arguments, in the loop and at the time of the signal; real handlers are untouched."""
    before = signal.getsignal(signal.SIGTERM)

    async def main():
        loop, stop, seen = asyncio.get_running_loop(), asyncio.Event(), []

        def handle(word):
            seen.append((word, loop.time(), asyncio.get_running_loop() is loop))
            stop.set()

        loop.add_signal_handler(signal.SIGTERM, handle, "stop")
        assert signal.getsignal(signal.SIGTERM) is before
        loop.call_later(5, send, signal.SIGTERM)
        await stop.wait()
        return seen, loop.remove_signal_handler(signal.SIGTERM), loop.remove_signal_handler(signal.SIGTERM)

    assert simulate(main) == ([("stop", 5.0, True)], True, False)


def test_a_blocking_part_can_stop_the_loop():
    """A signal from a simulated thread reaches the main thread's loop."""

    async def main():
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGINT, stop.set)

        def blocking():
            time.sleep(3)
            by_kill(signal.SIGINT)

        await asyncio.gather(asyncio.to_thread(blocking), stop.wait())
        return loop.time()

    assert simulate(main) == 3.0


def test_a_signal_means_the_process_that_sends_it():
    """Each simulated process has handlers of its own in the loop that they share; a crash removes them."""
    seen = []

    async def part(name, handles):
        loop = asyncio.get_running_loop()
        if handles:
            loop.add_signal_handler(signal.SIGUSR1, seen.append, name)
        await asyncio.sleep(1)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(1)

    async def main():
        parts = [start_process("a", part, "a", True), start_process("b", part, "b", True)]
        third = start_process("c", part, "c", False)
        await asyncio.gather(*parts)
        with pytest.raises(RealIOError):
            await third
        dead = start_process("dead", part, "dead", True)
        await asyncio.sleep(0.5)
        await crash("dead")
        loop = asyncio.get_running_loop()
        return dead.alive, loop._on_signal

    alive, left = simulate(main)
    assert seen == ["a", "b"]
    assert not alive
    assert not [key for key in left if key[0].name == "dead"]


@pytest.mark.parametrize("send", SENDERS)
def test_a_handler_of_the_signal_module_is_called_at_once(send):
    """signal.signal works as ever, and what the run has set is undone at its end."""
    before = signal.getsignal(signal.SIGUSR1)

    def main():
        seen = []
        signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append((number, time.monotonic())))
        time.sleep(2)
        send(signal.SIGUSR1)
        return seen

    assert simulate(main) == [(signal.SIGUSR1, 2.0)]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_asyncios_own_handler_does_not_outlive_a_deadlock():
    """asyncio.run sets a handler for Ctrl-C in the main thread; the end of a run that hangs takes it back."""
    before = signal.getsignal(signal.SIGINT)

    def main():
        asyncio.run(asyncio.Event().wait())

    assert Simulation().run(main).name == "deadlock"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("send", SENDERS)
def test_what_would_end_the_interpreter_is_refused(send):
    """A signal that nobody handles and whose default is deadly says what to do; a harmless one passes."""

    def main():
        send(signal.SIGCHLD)
        send(signal.SIGTERM)

    with pytest.raises(RealIOError, match=r"SIGTERM would end the interpreter .* crash\(name\)"):
        simulate(main)


def test_no_signal_leaves_the_run():
    """A real process is never sent a signal; it may be asked whether it is there."""

    def main():
        os.kill(os.getppid(), 0)
        os.kill(os.getppid(), signal.SIGTERM)

    with pytest.raises(RealIOError, match="real signal to a real process"):
        simulate(main)


@pytest.mark.parametrize(
    ("sig", "callback", "error"),
    [
        ("SIGTERM", print, TypeError),
        (1000, print, ValueError),
        (signal.SIGKILL, print, RuntimeError),
        (signal.SIGTERM, asyncio.sleep, TypeError),
    ],
)
def test_wrong_arguments_are_refused_as_asyncio_does(sig, callback, error):
    """The simulation raises what asyncio's own loop raises."""

    def outcome(loop):
        with pytest.raises(error) as caught:
            loop.add_signal_handler(sig, callback)
        return type(caught.value), str(caught.value)

    async def main():
        return outcome(asyncio.get_running_loop())

    assert asyncio.run(main()) == simulate(main)


def test_other_threads_have_no_handlers():
    """As in CPython, signals are the main thread's alone."""

    def blocking():
        async def inner():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)

        with pytest.raises(ValueError, match="main thread"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with pytest.raises(RuntimeError, match="main thread"):
            asyncio.run(inner())

    async def main():
        await asyncio.to_thread(blocking)
        thread = threading.Thread(target=blocking)
        thread.start()
        await asyncio.to_thread(thread.join)
        return "done"

    assert simulate(main) == "done"


def test_a_program_in_a_thread_has_handlers_of_its_own():
    """Its thread is its main thread: those of the real process, and so Ctrl-C, stay as they are."""
    real = signal.getsignal(signal.SIGTERM)
    seen = []

    async def listen():
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.call_later(5, by_raise, signal.SIGINT)
        await stop.wait()
        seen.append(loop.time())

    def program():
        with as_program():
            before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
            assert before is real is signal.getsignal(signal.SIGTERM)
            by_kill(signal.SIGTERM)
            assert callable(signal.signal(signal.SIGTERM, signal.SIG_IGN))
            by_kill(signal.SIGTERM)
            with pytest.raises(TypeError, match="callable"):
                signal.signal(signal.SIGTERM, "handler")
            asyncio.run(listen())
        with pytest.raises(ValueError, match="main thread"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    async def main():
        await asyncio.to_thread(program)

    simulate(main)
    assert seen == [signal.SIGTERM, 5.0]
    assert signal.getsignal(signal.SIGTERM) is real


def test_a_main_thread_needs_no_leave():
    """In the main thread of a run, and outside of runs, nothing changes."""

    async def main():
        with as_program():
            before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
            return before

    with as_program():
        before = signal.getsignal(signal.SIGUSR1)
        assert simulate(main) is before


@pytest.mark.parametrize("name", ["alarm", "setitimer", "pause", "sigwait", "sigwaitinfo", "sigtimedwait"])
def test_timers_and_waits_of_the_real_world_are_refused(name):
    """One would strike after the run, another would wait for ever; after the run they are as they were."""
    original = getattr(signal, name, None)
    if original is None:
        pytest.skip(f"this system has no signal.{name}")
    args = {"alarm": (1,), "setitimer": (signal.ITIMER_REAL, 1), "pause": ()}.get(name, ([signal.SIGUSR1], 1))
    with pytest.raises(RealIOError, match=rf"signal.{name}\(\) goes by the real clock"):
        simulate(lambda: getattr(signal, name)(*args))
    assert getattr(signal, name) is original
