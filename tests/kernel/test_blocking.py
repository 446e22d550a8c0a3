from __future__ import annotations

import asyncio
import concurrent.futures as cf
import contextlib
import contextvars
import gc
import importlib
import os
import queue
import select
import selectors
import subprocess
import sys
import textwrap
import threading
import time
import types
import weakref
from multiprocessing.pool import ThreadPool

import greenlet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.errors import Deadlock
from wfsim.kernel import Simulation, crash, effect, span, start_process
from wfsim.kernel import _switchboard as switchboard
from wfsim.kernel import now as wfsim_now
from wfsim.kernel._threads import Pools

PRE_LOCK = threading.Lock()
PRE_RLOCK = threading.RLock()
PRE_CONDITION = threading.Condition()
PRE_EVENT = threading.Event()
PRE_SEMAPHORE = threading.BoundedSemaphore(1)
PRE_QUEUE: queue.Queue = queue.Queue()
PRE_SIMPLE: queue.SimpleQueue = queue.SimpleQueue()
PRE_LOCAL = threading.local()
PRE_BARRIER = threading.Barrier(2)


class Holder:
    """Keeps locks where nobody can search: in closures and in instances."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.lock = threading.Lock()
        self.enter = lambda lock=self.lock: lock.acquire()


HOLDER = Holder()


def simulate(main, *args, seed: int = 0):
    """Run main and return its value; an error of the run is raised."""
    outcome = Simulation(seed=seed).run(main, *args)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def outcome_of(main, *args):
    return Simulation().run(main, *args)


def start(fn, *args, daemon: bool = False, name: str | None = None) -> threading.Thread:
    thread = threading.Thread(target=fn, args=args, daemon=daemon, name=name)
    thread.start()
    return thread


def now() -> float:
    return time.monotonic()


def run_python(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


class TestSleep:
    def test_a_day_passes_in_no_time(self) -> None:
        """time.sleep waits in virtual time, to the nanosecond."""
        started = time.perf_counter()

        def main():
            before = time.time()
            time.sleep(86_400)
            time.sleep(0.1)
            time.sleep(0.2)
            return time.time_ns(), time.time() - before, time.monotonic_ns()

        assert simulate(main)[2] == 86_400_300_000_000
        assert time.perf_counter() - started < 5

    def test_a_sleeper_blocks_nobody_else(self) -> None:
        """Coroutines and other blocking functions go on while one sleeps."""
        seen = []

        def blocking(name, pause):
            for _ in range(3):
                time.sleep(pause)
                seen.append((now(), name))

        async def ticking():
            for _ in range(3):
                await asyncio.sleep(2)
                seen.append((now(), "tick"))

        async def main():
            await asyncio.gather(
                asyncio.to_thread(blocking, "a", 3), asyncio.to_thread(blocking, "b", 5), ticking()
            )

        simulate(main)
        assert seen == [
            (2.0, "tick"), (3.0, "a"), (4.0, "tick"), (5.0, "b"), (6.0, "a"), (6.0, "tick"),
            (9.0, "a"), (10.0, "b"), (15.0, "b"),
        ]  # fmt: skip

    def test_a_blocking_call_in_a_coroutine_blocks_its_loop_only(self) -> None:
        """In a coroutine time.sleep holds up the coroutines of that loop, as it really does, no others."""
        seen = []

        def thread():
            time.sleep(1)
            seen.append(("thread", now()))

        async def other():
            await asyncio.sleep(1)
            seen.append(("coroutine", now()))

        async def main():
            task = asyncio.create_task(other())
            worker = asyncio.create_task(asyncio.to_thread(thread))
            await asyncio.sleep(0)
            time.sleep(5)
            seen.append(("main", now()))
            await task
            await worker

        simulate(main)
        assert seen == [("thread", 1.0), ("main", 5.0), ("coroutine", 5.0)]

    @pytest.mark.parametrize(
        ("value", "error"), [(-1, ValueError), ("1", TypeError), (float("nan"), ValueError)]
    )
    def test_wrong_durations_are_refused_as_ever(self, value, error) -> None:
        """A wrong argument raises the error that it raises outside."""
        with pytest.raises(error):
            time.sleep(value)
        with pytest.raises(error):
            simulate(lambda: time.sleep(value))

    def test_sleep_zero_lets_others_run(self) -> None:
        """time.sleep(0) gives way at the same instant."""
        seen = []

        def turn(name):
            time.sleep(1)
            for _ in range(3):
                seen.append(name)
                time.sleep(0)

        def main():
            threads = [start(turn, "a"), start(turn, "b")]
            for thread in threads:
                thread.join()
            return now()

        assert simulate(main) == 1.0
        assert seen == ["a", "b"] * 3


class TestThreads:
    def test_threads_run_side_by_side(self) -> None:
        """Three threads that sleep 1, 2 and 3 seconds end after 3 seconds, in that order."""

        def main():
            ended = []

            def work(pause):
                time.sleep(pause)
                ended.append(pause)

            threads = [start(work, pause) for pause in (3, 1, 2)]
            for thread in threads:
                thread.join()
            return ended, now(), [thread.is_alive() for thread in threads]

        assert simulate(main) == ([1, 2, 3], 3.0, [False] * 3)

    def test_join_with_a_timeout_gives_up(self) -> None:
        """join(timeout) returns at its time with the thread alive, and works again later."""

        def main():
            thread = start(time.sleep, 5)
            thread.join(2)
            first = (now(), thread.is_alive())
            thread.join(0)
            thread.join()
            thread.join()
            return first, now(), thread.is_alive()

        assert simulate(main) == ((2.0, True), 5.0, False)

    def test_each_thread_has_an_identity_of_its_own(self) -> None:
        """What get_ident, current_thread and ident say agrees in every thread and differs between them."""

        def main():
            seen = []

            def work():
                time.sleep(1)
                me = threading.current_thread()
                seen.append((me.ident, threading.get_ident(), me.name))

            threads = [start(work, name=f"worker {n}") for n in range(3)]
            for thread in threads:
                thread.join()
            assert [s[0] for s in seen] == [s[1] for s in seen] == [t.ident for t in threads]
            assert [s[2] for s in seen] == ["worker 0", "worker 1", "worker 2"]
            assert len({threading.get_ident(), *(s[0] for s in seen)}) == 4

        simulate(main)

    def test_names_and_identities_are_the_same_in_every_run(self) -> None:
        """What a log line says of its thread does not depend on what ran before."""

        def main():
            seen = []

            def work():
                seen.append((threading.get_ident(), threading.current_thread().name))

            for _ in range(2):
                start(work).join()
            with cf.ThreadPoolExecutor() as executor:
                executor.submit(work).result()
            return seen

        assert simulate(main) == simulate(main)
        start(lambda: None).join()
        assert [name.split("-")[0] for _, name in simulate(main)] == [
            "Thread",
            "Thread",
            "ThreadPoolExecutor",
        ]

    def test_the_hub_is_the_real_thread(self) -> None:
        """Coroutines run in the thread that started the simulation, as on a stock loop."""

        async def main():
            return threading.current_thread(), threading.get_ident()

        assert simulate(main) == (threading.current_thread(), threading.get_ident())

    def test_enumerate_knows_the_living(self) -> None:
        """threading.enumerate and active_count list the simulated threads as long as they live."""

        def main():
            threading.current_thread()
            before = threading.active_count()
            thread = start(time.sleep, 1)
            during = threading.active_count()
            assert thread in threading.enumerate()
            thread.join()
            return during - before, threading.active_count() - before

        count = threading.active_count()
        assert simulate(main) == (1, 0)
        assert threading.active_count() == count

    def test_an_error_in_a_thread_is_reported_and_harms_nobody(self) -> None:
        """threading.excepthook gets the error; the others go on."""
        caught = []

        def fail():
            time.sleep(1)
            raise ValueError("oops")

        def main():
            thread = start(fail, name="bad")
            thread.join()
            return now()

        hook, threading.excepthook = threading.excepthook, caught.append
        try:
            assert simulate(main) == 1.0
        finally:
            threading.excepthook = hook
        assert [str(args.exc_value) for args in caught] == ["oops"]
        assert caught[0].thread.name == "bad"

    def test_a_raw_thread_works(self) -> None:
        """_thread.start_new_thread starts a simulated thread too."""
        import _thread

        def main():
            done = threading.Lock()
            done.acquire()

            def work(pause, *, extra):
                time.sleep(pause + extra)
                done.release()

            ident = _thread.start_new_thread(work, (1,), {"extra": 2})
            done.acquire()
            return isinstance(ident, int), now()

        assert simulate(main) == (True, 3.0)

    def test_a_raw_threads_error_is_reported(self) -> None:
        """An error that leaves a raw thread goes to sys.unraisablehook, SystemExit to nobody, as ever."""
        import _thread

        seen = []

        def fail(error):
            raise error

        def main():
            _thread.start_new_thread(fail, (KeyError("k"),))
            _thread.start_new_thread(fail, (SystemExit(3),))

        hook, sys.unraisablehook = sys.unraisablehook, lambda args: seen.append(args.exc_value)
        try:
            simulate(main)
        finally:
            sys.unraisablehook = hook
        assert [repr(error) for error in seen] == ["KeyError('k')"]

    def test_a_timer_fires_in_virtual_time(self) -> None:
        """threading.Timer calls its function at its time, and not when it was cancelled."""

        def main():
            fired = []
            timer = threading.Timer(3600, lambda: fired.append(now()))
            other = threading.Timer(60, lambda: fired.append("never"))
            timer.start()
            other.start()
            time.sleep(1)
            other.cancel()
            timer.join()
            return fired

        assert simulate(main) == [3600.0]

    def test_two_thousand_threads_are_no_trouble(self) -> None:
        """Many threads may live at once."""

        def main():
            done = []

            def work(n):
                time.sleep(n % 10)
                done.append(n)

            threads = [start(work, n) for n in range(2_000)]
            for thread in threads:
                thread.join()
            return len(done), now()

        assert simulate(main) == (2_000, 9.0)

    def test_threads_start_threads(self) -> None:
        """A thread may start others, to any depth, and wait for them."""

        def main():
            def descend(depth):
                if depth:
                    time.sleep(1)
                    start(descend, depth - 1).join()

            descend(100)
            return now()

        assert simulate(main) == 100.0

    def test_a_subclass_of_thread_works(self) -> None:
        """Code that derives from Thread runs unchanged."""

        class Worker(threading.Thread):
            def run(self):
                time.sleep(2)
                self.result = now()

        def main():
            worker = Worker()
            worker.start()
            worker.join()
            return worker.result

        assert simulate(main) == 2.0

    def test_a_thread_made_before_the_run_can_be_started_in_it(self) -> None:
        """A Thread object that waits to be started is no real thread yet."""
        seen = []
        thread = threading.Thread(target=lambda: (time.sleep(3), seen.append(now())))

        def main():
            thread.start()
            thread.join()

        simulate(main)
        assert seen == [3.0]
        assert not thread.is_alive()
        thread.join()

    def test_the_clock_is_not_moved_by_real_threads(self) -> None:
        """A real thread that sleeps, waits and locks beside the run does not change a thing in it."""
        stop, shared = threading.Event(), threading.Lock()

        def outside():
            while not stop.wait(0.0005):
                with shared:
                    time.sleep(0.0001)

        def main():
            times = []
            for _ in range(200):
                time.sleep(1)
                with shared:
                    times.append(now())
            return times

        thread = start(outside)
        try:
            assert simulate(main) == [float(n) for n in range(1, 201)]
        finally:
            stop.set()
            thread.join()


class TestMainThread:
    """A main function that blocks is what a program's own first lines are: the main thread."""

    def test_a_blocking_main_is_the_main_thread(self) -> None:
        """It has the real thread's identity and object, before and after it has waited; others have not."""

        def who():
            return threading.get_ident(), threading.current_thread(), threading.get_native_id()

        def main():
            first = who()
            time.sleep(1)
            with cf.ThreadPoolExecutor(1) as pool:
                other = pool.submit(who).result()
            return first, who(), other, threading.current_thread() is threading.main_thread()

        first, again, other, is_main = simulate(main)
        assert first == again == who()
        assert is_main
        assert all(a != b for a, b in zip(first, other, strict=True))
        assert threading.current_thread() is threading.main_thread()

    def test_only_main_is_it(self) -> None:
        """A blocking function that a coroutine calls, and one of another process, are other threads."""

        def is_main():
            return threading.current_thread() is threading.main_thread()

        async def main():
            here = is_main()
            return here, await asyncio.to_thread(is_main), await start_process("other", is_main)

        assert simulate(main) == (True, False, False)

    def test_it_shares_the_real_threads_locals(self) -> None:
        """What the program kept in a threading.local before the run is there, and what main keeps stays."""
        PRE_LOCAL.before = "before"

        def main():
            time.sleep(1)
            PRE_LOCAL.after = "after"
            return PRE_LOCAL.before

        try:
            assert simulate(main) == "before"
            assert PRE_LOCAL.after == "after"
        finally:
            vars(PRE_LOCAL).clear()

    def test_it_sees_the_callers_context(self) -> None:
        """The context variables that were set before the run are set in it, whichever kind main is of."""
        variable = contextvars.ContextVar("variable")
        variable.set("outer")

        async def amain():
            return variable.get()

        assert simulate(variable.get) == simulate(amain) == "outer"

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_get_event_loop_makes_it_a_loop(self) -> None:
        """In the main thread asyncio.get_event_loop() gives a loop where none is set, as CPython does."""

        async def part():
            await asyncio.sleep(2)
            return now()

        def main():
            loop = asyncio.get_event_loop()
            try:
                assert asyncio.get_event_loop() is loop
                return loop.run_until_complete(part())
            finally:
                loop.close()

        assert simulate(main) == 2.0

    def test_an_rlock_held_around_the_run_is_its_own(self) -> None:
        """What the real thread holds the main thread holds."""
        with PRE_RLOCK:
            assert simulate(PRE_RLOCK._is_owned)

    def test_a_restarted_main_is_the_main_thread_again(self) -> None:
        """A crash of the main process and its restart: the new function runs in the main thread too."""
        seen = []

        def main():
            seen.append((now(), threading.current_thread() is threading.main_thread()))
            if len(seen) < 3:
                start_process(f"killer {len(seen)}", killer)
                time.sleep(1000)
            return "done"

        async def killer():
            await asyncio.sleep(1)
            await crash("main", restart_after=2)

        assert simulate(main) == "done"
        assert seen == [(0.0, True), (3.0, True), (6.0, True)]
        assert threading.current_thread() is threading.main_thread()


class TestLocals:
    def test_each_thread_has_its_own_values(self) -> None:
        """threading.local keeps simulated threads apart, also one that was made before the run."""
        PRE_LOCAL.value = "outside"

        def main():
            made_here = threading.local()
            seen = []

            def work(n):
                assert not hasattr(PRE_LOCAL, "value")
                PRE_LOCAL.value = made_here.value = n
                time.sleep(1)
                seen.append((PRE_LOCAL.value, made_here.value))

            for thread in [start(work, n) for n in range(3)]:
                thread.join()
            return seen

        assert simulate(main) == [(0, 0), (1, 1), (2, 2)]
        assert PRE_LOCAL.value == "outside"

    def test_a_subclass_is_initialised_in_each_thread(self) -> None:
        """__init__ of a subclass of threading.local runs once in every thread that uses it."""

        class Connection(threading.local):
            made = 0

            def __init__(self):
                Connection.made += 1
                self.number = Connection.made

        def main():
            connection = Connection()
            numbers = []
            for _ in range(3):
                start(lambda: numbers.append(connection.number)).join()
            return numbers, connection.number

        assert simulate(main) == ([2, 3, 4], 1)

    def test_a_calls_values_do_not_leak_into_the_next(self) -> None:
        """Every call in a new thread begins with empty thread-locals, though greenlets are used again."""

        def use(n):
            before = getattr(PRE_LOCAL, "leak", None)
            PRE_LOCAL.leak = n
            return before

        async def main():
            PRE_LOCAL.leak = "hub"
            return [await asyncio.to_thread(use, n) for n in range(5)], PRE_LOCAL.leak

        assert simulate(main) == ([None] * 5, "hub")
        del PRE_LOCAL.leak

    def test_values_are_freed_when_their_thread_ends(self) -> None:
        """What a thread kept in a threading.local is garbage after its end."""

        class Thing:
            alive = 0

            def __init__(self):
                Thing.alive += 1

            def __del__(self):
                Thing.alive -= 1

        def use():
            PRE_LOCAL.thing = Thing()
            time.sleep(1)

        def main():
            for _ in range(20):
                start(use).join()
            gc.collect()
            return Thing.alive

        assert simulate(main) <= 1
        gc.collect()
        assert Thing.alive == 0


class TestContext:
    def test_a_thread_starts_with_an_empty_context(self) -> None:
        """A variable set outside is unset in a new thread, as up to Python 3.13; to_thread copies it."""
        variable = contextvars.ContextVar("variable", default="unset")

        async def main():
            variable.set("set")
            seen = []
            start(lambda: seen.append(variable.get())).join()
            seen.append(await asyncio.to_thread(variable.get))
            seen.append(await asyncio.get_running_loop().run_in_executor(None, variable.get))
            return seen

        assert simulate(main) == ["unset", "set", "unset"]

    def test_contexts_stay_apart_over_waits(self) -> None:
        """Each thread and task keeps its own values whoever runs in between."""
        variable = contextvars.ContextVar("variable")

        def work(n):
            variable.set(n)
            for _ in range(5):
                time.sleep(1)
                assert variable.get() == n

        async def task(n):
            variable.set(n)
            for _ in range(5):
                await asyncio.sleep(1)
                assert variable.get() == n
            await asyncio.to_thread(lambda: time.sleep(1))
            assert variable.get() == n

        async def main():
            await asyncio.gather(
                *(asyncio.to_thread(work, n) for n in range(3)), *(task(-n) for n in range(3))
            )

        simulate(main)

    def test_a_thread_belongs_to_the_operation_that_started_it(self) -> None:
        """What happens in a thread has the enclosing operation as its parent, and its process."""

        def work():
            time.sleep(1)
            effect("charged", 7)

        async def main():
            with span("saga", "checkout", "checkout") as it:
                await asyncio.gather(
                    asyncio.get_running_loop().run_in_executor(None, lambda: start(work).join()),
                    asyncio.to_thread(work),
                )
            return it.index

        simulation = Simulation()
        index = simulation.run(main).value
        effects = simulation.recorder.history().where(kind="effect")
        assert [(op.parent, op.process) for op in effects] == [(index, "main")] * 2


class TestLocks:
    @pytest.mark.parametrize("make", [threading.Lock, threading.RLock, lambda: PRE_LOCK, lambda: PRE_RLOCK])
    def test_a_lock_held_over_a_sleep_excludes(self, make) -> None:
        """Two are never inside a locked section, everybody gets in, first come first, and nothing hangs."""

        def main():
            lock, inside, order = make(), [], []

            def work(n):
                with lock:
                    inside.append(n)
                    assert inside == [n]
                    time.sleep(1)
                    inside.remove(n)
                    order.append((n, now()))

            for thread in [start(work, n) for n in range(4)]:
                thread.join()
            return order

        assert simulate(main) == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]

    def test_an_rlock_is_reentrant_for_its_owner_only(self) -> None:
        """The owner may take it again; another thread may neither take nor release it."""

        def main():
            lock, seen = threading.RLock(), []

            def other():
                seen.append(lock.acquire(blocking=False))
                seen.append(lock.acquire(timeout=1))
                with pytest.raises(RuntimeError):
                    lock.release()
                with lock:
                    seen.append(now())

            with lock, lock:
                thread = start(other)
                time.sleep(5)
                with lock:
                    time.sleep(1)
            thread.join()
            return seen

        assert simulate(main) == [False, False, 6.0]

    @pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
    def test_acquire_with_a_timeout(self, make) -> None:
        """An acquire(timeout=...) returns False at its time, True when it got the lock before."""

        def main():
            lock = make()

            def hold():
                with lock:
                    time.sleep(3)

            start(hold)
            seen = [(lock.acquire(timeout=1), now()), (lock.acquire(timeout=5), now())]
            lock.release()
            assert lock.acquire(timeout=0)
            lock.release()
            return seen

        assert simulate(main) == [(False, 1.0), (True, 3.0)]

    @pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ((False, 1), ValueError),
            ((True, -2), ValueError),
            ((True, 1e20), OverflowError),
            ((True, "1"), TypeError),
        ],
    )
    def test_wrong_arguments_are_refused_as_ever(self, make, arguments, error) -> None:
        """A wrong argument raises the error that it raises outside, and does not take the lock."""

        def main():
            lock = make()
            with pytest.raises(error):
                lock.acquire(*arguments)
            assert lock.acquire(blocking=False)
            lock.release()

        main()
        simulate(main)

    def test_releasing_a_free_lock_is_refused(self) -> None:
        """RuntimeError, as outside."""

        def main():
            for lock in (threading.Lock(), threading.RLock()):
                with pytest.raises(RuntimeError):
                    lock.release()

        simulate(main)

    def test_a_lock_may_be_released_by_another_thread(self) -> None:
        """A Lock used as a signal works; an RLock does not allow it."""

        def main():
            signal = threading.Lock()
            signal.acquire()
            start(lambda: (time.sleep(2), signal.release()))
            signal.acquire()
            return now()

        assert simulate(main) == 2.0

    def test_a_lock_taken_before_the_run_is_waited_for_in_virtual_time(self) -> None:
        """Who releases it in the run wakes who waits for it in the run."""
        PRE_LOCK.acquire()

        def main():
            start(lambda: (time.sleep(2), PRE_LOCK.release()))
            with PRE_LOCK:
                return now()

        assert simulate(main) == 2.0
        assert not PRE_LOCK.locked()

    def test_an_rlock_held_around_a_run_can_be_used_in_it(self) -> None:
        """Whoever starts a simulation under a lock of its own may take it again inside."""

        async def main():
            with PRE_RLOCK:
                await asyncio.sleep(1)

        with PRE_RLOCK:
            simulate(main)
            assert PRE_RLOCK._is_owned()
        assert not PRE_RLOCK._is_owned()

    def test_locks_in_closures_and_instances_work(self) -> None:
        """Locks work wherever they are kept, because their type is changed and not references to them."""

        def main():
            order = []

            def work(n):
                HOLDER.enter()
                time.sleep(1)
                order.append((n, now()))
                HOLDER.lock.release()

            for thread in [start(work, n) for n in range(2)]:
                thread.join()
            return order

        assert simulate(main) == [(0, 1.0), (1, 2.0)]

    def test_what_is_made_in_a_run_works_after_it(self) -> None:
        """Locks, events, conditions, queues and threads of a run are plain ones outside."""
        made = {}

        def main():
            made.update(
                lock=threading.Lock(), rlock=threading.RLock(), event=threading.Event(), queue=queue.Queue(),
                condition=threading.Condition(), simple=queue.SimpleQueue(), thread=start(time.sleep, 1),
            )  # fmt: skip
            with made["rlock"], made["condition"]:
                pass

        simulate(main)
        assert type(made["lock"]) is type(threading.Lock())
        done = []

        def real():
            with made["lock"], made["rlock"], made["condition"]:
                made["condition"].notify_all()
            made["queue"].put(1)
            made["simple"].put(2)
            made["event"].set()
            done.append(made["rlock"].acquire(timeout=5))
            made["rlock"].release()

        with made["condition"]:
            thread = start(real)
            assert made["condition"].wait(10)
        assert made["event"].wait(10)
        assert (made["queue"].get(timeout=10), made["simple"].get(timeout=10)) == (1, 2)
        thread.join(10)
        assert done == [True]
        assert not made["thread"].is_alive()
        made["thread"].join()

    def test_a_lock_held_by_a_real_thread_is_waited_for_in_real_time(self) -> None:
        """The clock stands still until the real thread releases it."""
        lock, taken = threading.Lock(), threading.Event()
        rlock = threading.RLock()

        def outside():
            with lock, rlock:
                taken.set()
                time.sleep(0.05)

        def main():
            taken.wait(5)  # is set: does not wait
            start(time.sleep, 100)
            with lock:
                first = now()
            with rlock:
                return first, now()

        thread = start(outside)
        taken.wait(5)
        assert simulate(main) == (0.0, 0.0)
        thread.join()


class TestConditions:
    @pytest.mark.parametrize("make", [threading.Condition, lambda: PRE_CONDITION, lambda: HOLDER.condition])
    def test_wait_and_notify(self, make) -> None:
        """A waiter goes on when notified, holds the lock then, and the others wait on."""

        def main():
            condition, seen = make(), []

            def wait(n):
                with condition:
                    assert condition.wait(100)
                    assert condition._is_owned()
                    seen.append((n, now()))

            threads = [start(wait, n) for n in range(3)]
            time.sleep(1)
            with condition:
                condition.notify()
            time.sleep(1)
            with condition:
                condition.notify_all()
            for thread in threads:
                thread.join()
            return seen

        assert simulate(main) == [(0, 1.0), (1, 2.0), (2, 2.0)]

    def test_a_condition_can_be_locked_by_name(self) -> None:
        """Both acquire and release of a Condition made before the run are those of its lock in the run."""

        def main():
            PRE_CONDITION.acquire()
            thread = start(lambda: (PRE_CONDITION.acquire(), PRE_CONDITION.release()))
            time.sleep(1)
            alive = thread.is_alive()
            PRE_CONDITION.release()
            thread.join()
            return alive

        assert simulate(main) is True
        assert PRE_CONDITION.acquire(blocking=False)
        PRE_CONDITION.release()

    def test_wait_gives_up_at_its_timeout(self) -> None:
        """At its timeout wait returns False, wait_for the value of its predicate."""

        def main():
            condition = threading.Condition()
            with condition:
                first = condition.wait(2)
                second = condition.wait_for(lambda: now() >= 3, timeout=4)
            return first, second, now()

        assert simulate(main) == (False, True, 6.0)

    def test_a_recursively_held_condition_is_let_go_entirely(self) -> None:
        """While it waits it releases an RLock taken several times, and takes it as many times again."""

        def main():
            condition = threading.Condition()

            def notify():
                with condition:
                    condition.notify()

            with condition, condition, condition:
                start(notify)
                condition.wait(5)
                held = condition._is_owned()
            return held, condition._is_owned(), now()

        assert simulate(main) == (True, False, 0.0)

    def test_events_semaphores_and_barriers(self) -> None:
        """What threading builds on locks works, made before the run or in it."""

        def main():
            seen = []

            def work(n):
                PRE_EVENT.wait()
                with PRE_SEMAPHORE:
                    time.sleep(1)
                    seen.append((n, now()))
                PRE_BARRIER.wait(10)

            threads = [start(work, n) for n in range(2)]
            time.sleep(1)
            PRE_EVENT.set()
            for thread in threads:
                thread.join()
            assert PRE_EVENT.wait(0)
            PRE_EVENT.clear()
            assert not PRE_EVENT.wait(1)
            return seen, now()

        assert simulate(main) == ([(0, 2.0), (1, 3.0)], 4.0)

    def test_waiting_leaves_nothing_behind(self) -> None:
        """A run that waits for signals a million times does not remember each of them."""

        def main():
            line, back = queue.Queue(), queue.Queue()
            start(lambda: [back.put(line.get()) for _ in range(100)])
            for number in range(100):
                line.put(number)
                back.get()
            with contextlib.suppress(queue.Empty):
                back.get(timeout=1)
            return len(switchboard.here().locks)

        assert simulate(main) < 5

    def test_a_barrier_breaks_at_its_timeout(self) -> None:
        """Barrier.wait(timeout) raises BrokenBarrierError at its time."""

        def main():
            with pytest.raises(threading.BrokenBarrierError):
                threading.Barrier(2).wait(3)
            return now()

        assert simulate(main) == 3.0


class TestQueues:
    @pytest.mark.parametrize(
        "make",
        [
            queue.Queue,
            queue.LifoQueue,
            queue.PriorityQueue,
            queue.SimpleQueue,
            lambda: PRE_QUEUE,
            lambda: PRE_SIMPLE,
        ],
    )
    def test_a_consumer_waits_for_the_producer(self, make) -> None:
        """A get waits in virtual time until something is put."""

        def main():
            line, seen = make(), []

            def consume():
                for _ in range(3):
                    seen.append((line.get(), now()))

            thread = start(consume)
            for n in range(3):
                time.sleep(2)
                line.put(n)
            thread.join()
            with pytest.raises(queue.Empty):
                line.get(timeout=1.5)
            with pytest.raises(queue.Empty):
                line.get(block=False)
            return seen, now()

        assert simulate(main) == ([(0, 2.0), (1, 4.0), (2, 6.0)], 7.5)

    def test_a_producer_waits_for_room(self) -> None:
        """A put on a full queue waits, join waits for task_done."""

        def main():
            line, seen = queue.Queue(maxsize=1), []

            def consume():
                while True:
                    time.sleep(1)
                    line.get()
                    line.task_done()

            start(consume, daemon=True)
            for _ in range(3):
                line.put(0)
                seen.append(now())
            with pytest.raises(queue.Full):
                line.put(0, timeout=0.25)
            line.join()
            return seen, now()

        assert simulate(main) == ([0.0, 1.0, 2.0], 3.0)

    def test_waiters_of_a_simple_queue_are_served_in_order(self) -> None:
        """Several that wait get the items in the order in which they came."""

        def main():
            line, seen = queue.SimpleQueue(), []
            threads = [start(lambda n=n: seen.append((n, line.get(timeout=50)))) for n in range(3)]
            time.sleep(1)
            for item in "abc":
                line.put(item)
            for thread in threads:
                thread.join()
            return seen

        assert simulate(main) == [(0, "a"), (1, "b"), (2, "c")]

    def test_wrong_timeouts_are_refused_as_ever(self) -> None:
        """A negative timeout is a ValueError."""

        def main():
            for line in (queue.Queue(), queue.SimpleQueue()):
                with pytest.raises(ValueError):
                    line.get(timeout=-1)

        simulate(main)


MODULE_POOL = cf.ThreadPoolExecutor(2)


class Wrapped:
    """Around a method, as libraries that watch others make it: it counts calls, and finds its object by binding."""

    __class__ = property(lambda _: types.FunctionType)  # type: ignore[assignment]  # as wrapt's wrappers say

    def __init__(self, method) -> None:
        self.method = method
        self.calls = 0

    def __get__(self, instance, owner):
        def call(*args, **kwargs):
            self.calls += 1
            return self.method.__get__(instance, owner)(*args, **kwargs)

        return call

    def __call__(self, *_args, **_kwargs):
        raise AssertionError("not bound to its object")


class TestExecutors:
    @pytest.mark.parametrize("name", ["submit", "shutdown"])
    def test_what_others_have_wrapped_goes_on_to_work(self, monkeypatch, name) -> None:
        """Whether it was wrapped before a run or in one, for the next run too, and outside of runs."""
        before = Wrapped(getattr(cf.ThreadPoolExecutor, name))
        monkeypatch.setattr(cf.ThreadPoolExecutor, name, before)
        meanwhile = []

        def main():
            if not meanwhile:
                meanwhile.append(Wrapped(vars(cf.ThreadPoolExecutor)[name]))
                setattr(cf.ThreadPoolExecutor, name, meanwhile[0])
            with cf.ThreadPoolExecutor(1) as pool:
                return pool.submit(time.sleep, 2).result(), now()

        assert simulate(main) == (None, 2.0)
        assert simulate(main) == (None, 2.0)
        with cf.ThreadPoolExecutor(1) as pool:
            assert pool.submit(int, "7").result() == 7
        assert (before.calls, meanwhile[0].calls) == (3, 3)

    def test_a_pool_works_in_virtual_time(self) -> None:
        """Both map and submit run on as many simulated workers as the pool has."""

        def main():
            with cf.ThreadPoolExecutor(2) as pool:
                values = list(pool.map(lambda n: (time.sleep(n), n)[1], [3, 1, 2]))
                return values, now()

        assert simulate(main) == ([3, 1, 2], 3.0)

    def test_results_errors_and_timeouts(self) -> None:
        """Future.result waits, gives up at its timeout, raises the function's error."""

        def fail():
            time.sleep(2)
            raise KeyError("k")

        def main():
            with cf.ThreadPoolExecutor() as pool:
                future = pool.submit(fail)
                with pytest.raises(TimeoutError):
                    future.result(timeout=1)
                first = now()
                with pytest.raises(KeyError):
                    future.result()
                return first, now(), type(future.exception())

        assert simulate(main) == (1.0, 2.0, KeyError)

    def test_wait_and_as_completed(self) -> None:
        """As asked, wait returns at the first that is done, as_completed in the order of ends."""

        def main():
            with cf.ThreadPoolExecutor() as pool:
                futures = [pool.submit(time.sleep, n) for n in (3, 1, 2)]
                done, rest = cf.wait(futures, return_when=cf.FIRST_COMPLETED)
                first = (len(done), len(rest), now())
                order = [futures.index(future) for future in cf.as_completed(futures)]
                return first, order, now()

        assert simulate(main) == ((1, 2, 1.0), [1, 2, 0], 3.0)

    def test_a_pool_that_is_never_shut_down_does_not_hang_the_run(self) -> None:
        """At the end its workers finish what is queued and end, as at the interpreter's exit."""
        seen = []

        def main():
            pool = cf.ThreadPoolExecutor(1)
            for n in range(3):
                pool.submit(lambda n=n: (time.sleep(1), seen.append((n, now()))))
            main.pool = pool

        assert outcome_of(main).duration_ns == 3_000_000_000
        assert seen == [(0, 1.0), (1, 2.0), (2, 3.0)]
        with main.pool as pool:
            assert pool.submit(lambda: 5).result(10) == 5  # and it is a plain pool afterwards

    def test_a_pool_with_real_threads_gets_simulated_ones_for_the_run(self) -> None:
        """A module's pool that has worked before works in virtual time in a run, for real after it."""
        real = {MODULE_POOL.submit(threading.get_ident).result(10) for _ in range(3)}

        def main():
            futures = [MODULE_POOL.submit(time.sleep, 1000) for _ in range(4)]
            cf.wait(futures)
            return now(), MODULE_POOL.submit(threading.get_ident).result()

        for _ in range(2):
            ended, ident = simulate(main)
            assert ended == 2000.0
            assert ident not in real
        assert MODULE_POOL.submit(threading.get_ident).result(10) in real
        assert list(MODULE_POOL.map(abs, [-1, 2, -3])) == [1, 2, 3]

    def test_a_pool_that_is_shut_down_in_the_run_is_shut_down(self) -> None:
        """Its real workers end too, after the run."""
        pool = cf.ThreadPoolExecutor(1)
        pool.submit(abs, 1).result(10)
        (worker,) = pool._threads

        def main():
            assert pool.submit(abs, -2).result() == 2
            pool.shutdown(wait=True)
            with pytest.raises(RuntimeError):
                pool.submit(abs, 1)

        simulate(main)
        worker.join(10)
        assert not worker.is_alive()

    def test_an_initializer_runs_in_every_worker(self) -> None:
        """Thread-locals set by an initializer are there for the work."""

        def main():
            local = threading.local()
            with cf.ThreadPoolExecutor(2, initializer=lambda: setattr(local, "ready", True)) as pool:
                return list(pool.map(lambda _: (time.sleep(1), local.ready)[1], range(4)))

        assert simulate(main) == [True] * 4

    def test_cancelling_what_is_queued(self) -> None:
        """shutdown(cancel_futures=True) cancels what has not begun."""

        def main():
            pool = cf.ThreadPoolExecutor(1)
            futures = [pool.submit(time.sleep, 1) for _ in range(3)]
            pool.shutdown(cancel_futures=True)
            return [future.cancelled() for future in futures], now()

        assert simulate(main) == ([False, True, True], 1.0)

    def test_an_asyncio_loop_uses_a_given_pool(self) -> None:
        """run_in_executor with a pool of two threads runs two at a time."""

        async def main():
            loop = asyncio.get_running_loop()
            with cf.ThreadPoolExecutor(2) as pool:
                await asyncio.gather(*(loop.run_in_executor(pool, time.sleep, 1) for _ in range(4)))
                return now()

        assert simulate(main) == 2.0


class TestAsyncioInside:
    def test_asyncio_run_in_a_blocking_function(self) -> None:
        """A synchronous function may run a loop of its own; others go on meanwhile."""
        seen = []

        async def inner(n):
            await asyncio.sleep(n)
            seen.append((n, now()))
            return n

        def work(n):
            assert asyncio._get_running_loop() is None
            return asyncio.run(inner(n))

        async def main():
            return await asyncio.gather(*(asyncio.to_thread(work, n) for n in (3, 1, 2)))

        assert simulate(main) == [3, 1, 2]
        assert seen == [(1, 1.0), (2, 2.0), (3, 3.0)]

    def test_asyncio_run_as_main(self) -> None:
        """A program whose main function is synchronous and calls asyncio.run twice runs unchanged."""

        async def part(n):
            await asyncio.sleep(n)
            async with asyncio.timeout(5):
                await asyncio.to_thread(time.sleep, n)

        def main():
            for n in (1, 2):
                asyncio.run(part(n))
            return now()

        assert simulate(main) == 6.0

    def test_run_until_complete_and_get_event_loop(self) -> None:
        """The old style works too, and every thread has a current loop of its own."""

        def work():
            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            loop.run_until_complete(asyncio.sleep(1))
            time.sleep(1)
            same = asyncio.get_event_loop_policy().get_event_loop() is loop
            loop.close()
            return same

        def main():
            with cf.ThreadPoolExecutor() as pool:
                return list(pool.map(lambda _: work(), range(3))), now()

        assert simulate(main) == ([True] * 3, 2.0)

    def test_the_running_loop_is_the_threads_own(self) -> None:
        """Whoever runs in between, get_running_loop answers for the one who asks."""

        async def inner():
            loop = asyncio.get_running_loop()
            for _ in range(3):
                await asyncio.sleep(1)
                time.sleep(0.5)
                assert asyncio.get_running_loop() is loop
            return loop

        def no_loop():
            for _ in range(5):
                time.sleep(0.7)
                with pytest.raises(RuntimeError):
                    asyncio.get_running_loop()

        async def main():
            loop = asyncio.get_running_loop()
            loops = await asyncio.gather(
                asyncio.to_thread(asyncio.run, inner()), asyncio.to_thread(asyncio.run, inner()), inner(),
                asyncio.to_thread(no_loop),
            )  # fmt: skip
            assert asyncio.get_running_loop() is loop
            return len({id(one) for one in loops if one is not None})

        assert simulate(main) == 3

    def test_async_generators_belong_to_the_loop_that_runs_them(self) -> None:
        """A loop that ends in one thread leaves the generators of the others alone."""
        seen = []

        async def ticks():
            try:
                while True:
                    await asyncio.sleep(1)
                    yield now()
            finally:
                seen.append(now())

        async def main():
            other = asyncio.create_task(asyncio.to_thread(asyncio.run, asyncio.sleep(10)))
            await asyncio.sleep(1)
            async for tick in ticks():
                if tick == 20:
                    break
            await other
            seen.append("end")

        simulate(main)
        assert seen == ["end", 20.0]
        assert sys.get_asyncgen_hooks() == (None, None)

    @pytest.mark.parametrize("end", ["deadlock", "crash", "daemon"])
    def test_a_loop_whose_thread_is_gone_is_closed(self, end) -> None:
        """Its tasks run no more, no `finally` either; it neither runs nor is it open after the run."""
        loops, seen = [], []

        async def waits():
            loops.append(asyncio.get_running_loop())
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("finally")

        def main():
            if end == "deadlock":
                asyncio.run(waits())
            elif end == "daemon":
                start(lambda: asyncio.run(waits()), daemon=True)
            else:
                start_process("part", lambda: asyncio.run(waits()))
                time.sleep(1)
                asyncio.run(crash("part"))
            time.sleep(1)

        assert outcome_of(main).name == ("deadlock" if end == "deadlock" else "ok")
        gc.collect()
        (loop,) = loops
        assert loop.is_closed()
        assert not loop.is_running()
        assert not loop._tasks
        assert seen == []

    @pytest.mark.parametrize("who", ["thread", "process", "call"])
    def test_a_loop_that_goes_round_and_round_starves_nobody(self, who) -> None:
        """In a thread too: `while not done: await sleep(0)` gives others their turn at the same instant."""
        done = []

        async def spin():
            if who == "thread":
                start(done.append, True)
            elif who == "process":
                start_process("other", done.append, True)
            else:
                asyncio.get_running_loop().run_in_executor(None, done.append, True)
            while not done:
                await asyncio.sleep(0)
            return now()

        assert simulate(lambda: asyncio.run(spin())) == 0.0

    def test_a_closed_loop_is_not_kept_until_the_run_ends(self) -> None:
        """Code that runs a loop for each of its many steps does not pile them up."""
        loops = []

        async def step():
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await asyncio.sleep(1)

        def main():
            for _ in range(5):
                asyncio.run(step())
                time.sleep(1)
                start(time.sleep, 1).join()
            gc.collect()
            return [loop() for loop in loops]

        assert simulate(main) == [None] * 5

    def test_run_coroutine_threadsafe(self) -> None:
        """A thread may hand a coroutine to a loop elsewhere and wait for its result."""

        async def answer(n):
            await asyncio.sleep(n)
            return n, now()

        async def main():
            loop = asyncio.get_running_loop()

            def work(n):
                return asyncio.run_coroutine_threadsafe(answer(n), loop).result(timeout=10)

            return await asyncio.gather(asyncio.to_thread(work, 2), asyncio.to_thread(work, 1))

        assert simulate(main) == [(2, 2.0), (1, 1.0)]

    def test_a_loop_in_a_background_thread(self) -> None:
        """As many synchronous clients have it: a loop that runs for ever in a thread, asked from outside."""

        def main():
            loop = asyncio.new_event_loop()
            thread = start(loop.run_forever, daemon=True)

            async def ask(n):
                await asyncio.sleep(n)
                return n

            first = asyncio.run_coroutine_threadsafe(ask(5), loop).result()
            with pytest.raises(TimeoutError):
                asyncio.run_coroutine_threadsafe(ask(5), loop).result(timeout=1)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            return first, now()

        assert simulate(main) == (5, 6.0)

    def test_call_soon_threadsafe_wakes_a_waiting_coroutine(self) -> None:
        """A thread may set an asyncio.Event through the loop."""

        async def main():
            loop, event = asyncio.get_running_loop(), asyncio.Event()
            threading.Timer(3, loop.call_soon_threadsafe, [event.set]).start()
            await event.wait()
            return now()

        assert simulate(main) == 3.0

    def test_cancelling_the_awaiting_task_leaves_the_function_running(self) -> None:
        """As with a real thread: the task stops waiting, the function goes on and its result is dropped."""
        seen = []

        def work():
            time.sleep(5)
            seen.append(now())

        async def main():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.to_thread(work)
            return now()

        assert simulate(main) == 1.0
        assert seen == [5.0]

    @pytest.mark.parametrize("main_blocks", [True, False])
    def test_asyncio_run_waits_for_the_thread_of_a_cancelled_call(self, main_blocks) -> None:
        """The default executor is shut down when its threads have ended, not when nobody awaits them."""
        seen = []

        def work():
            time.sleep(5)
            seen.append(("work", now()))

        async def hasty():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.to_thread(work)
            seen.append(("hasty", now()))

        def main():
            asyncio.run(hasty())
            seen.append(("main", now()))

        async def amain():
            await hasty()
            await asyncio.get_running_loop().shutdown_default_executor()
            seen.append(("main", now()))

        simulate(main if main_blocks else amain)
        assert seen == [("hasty", 1.0), ("work", 5.0), ("main", 5.0)]

    def test_the_executors_shutdown_does_not_wait_for_the_crashed(self) -> None:
        """A call whose thread has crashed with its process is not waited for."""

        async def main():
            async def part():
                await asyncio.to_thread(time.sleep, 1000)

            start_process("part", part)
            asyncio.get_running_loop().call_later(1, lambda: asyncio.ensure_future(crash("part")))
            await asyncio.sleep(0.5)
            await asyncio.get_running_loop().shutdown_default_executor()
            return now()

        assert simulate(main) == 1.0

    def test_errors_come_through(self) -> None:
        """An error is raised where the function is awaited, whether it blocked or not, also StopIteration."""

        def fail(pause, error):
            if pause:
                time.sleep(pause)
            raise error

        async def main():
            seen = []
            for pause in (0, 1):
                for error in (ValueError("v"), SystemError("s"), StopIteration(1)):
                    try:
                        await asyncio.get_running_loop().run_in_executor(None, fail, pause, error)
                    except Exception as caught:
                        seen.append(type(caught).__name__)
            return seen

        assert simulate(main) == ["ValueError", "SystemError", "RuntimeError"] * 2

    def test_debug_mode_does_not_mind_threads(self) -> None:
        """The debug mode of asyncio checks the thread; results from simulated threads arrive properly."""

        async def main():
            told = []
            future = asyncio.get_running_loop().run_in_executor(None, time.sleep, 1)
            future.add_done_callback(lambda _: told.append(now()))
            await future
            await asyncio.sleep(0)
            return told

        assert Simulation(debug=True).run(main).value == [1.0]

    def test_a_stock_event_loop_runs_in_virtual_time_too(self) -> None:
        """A selector loop that code makes by name waits in virtual time, since `select` does."""

        async def inner():
            await asyncio.sleep(10)
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 5)
            return type(asyncio.get_running_loop()).__module__

        def main():
            loop = asyncio.SelectorEventLoop()
            try:
                return loop.run_until_complete(inner()).partition(".")[0], now()
            finally:
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()

        assert simulate(main) == ("asyncio", 15.0)


class TestSelect:
    def test_select_waits_in_virtual_time(self) -> None:
        """select, poll and epoll give up at their timeout, on the virtual clock."""

        def main():
            reader, writer = os.pipe()
            try:
                assert select.select([reader], [], [], 2) == ([], [], [])
                for make in ("poll", "epoll"):
                    if hasattr(select, make):
                        waiter = getattr(select, make)()
                        waiter.register(reader, select.POLLIN)
                        assert waiter.poll(3000 if make == "poll" else 3) == []
                        assert waiter.poll(0) == []
                selectors.DefaultSelector().select(1)
                return now()
            finally:
                os.close(reader)
                os.close(writer)

        assert simulate(main) in {3.0, 6.0, 9.0}

    def test_a_thread_that_writes_wakes_one_that_selects(self) -> None:
        """A pipe between two simulated threads works, also without a timeout."""

        def main():
            reader, writer = os.pipe()
            threading.Timer(4, os.write, (writer, b"x")).start()
            ready = select.select([reader], [], [])
            os.close(reader)
            os.close(writer)
            return ready[0] == [reader], now()

        assert simulate(main) == (True, 4.0)

    def test_multiprocessings_thread_pool(self) -> None:
        """ThreadPool, which waits on pipes, works as well."""

        def main():
            with ThreadPool(2) as pool:
                return pool.map(lambda n: (time.sleep(1), n)[1], range(4), chunksize=1), now()

        assert simulate(main) == ([0, 1, 2, 3], 2.0)

    def test_waiting_for_ever_is_a_deadlock(self) -> None:
        """What nobody in the simulation can make ready is reported, not waited for in real time."""
        outcome = outcome_of(lambda: select.select([], [], []))
        assert outcome.name == "deadlock"
        assert outcome.waiting[-1].waits_for == "select"


class TestBusyWaiting:
    """Real threads take turns whatever they do; code that relies on it must not hang a run."""

    def test_a_thread_that_watches_the_clock_lets_it_move(self) -> None:
        """`while time.monotonic() < deadline: pass` comes to an end."""

        def main():
            for clock in (time.monotonic, time.time, time.perf_counter_ns):
                deadline = clock() + (2 if clock is not time.perf_counter_ns else 2 * 10**9)
                while clock() < deadline:
                    pass
            return 6 <= now() < 20

        assert simulate(main)

    def test_a_coroutine_that_watches_the_clock_lets_others_run(self) -> None:
        """Threads go on while a coroutine burns time."""

        async def main():
            seen = []
            start(lambda: (time.sleep(1), seen.append(now())))
            while not seen:
                time.monotonic()
            return seen

        assert simulate(main) == [1.0]

    @pytest.mark.parametrize("place", ["coroutine", "callback", "thread", "nested loop"])
    def test_who_watches_a_loops_clock_lets_it_move(self, place) -> None:
        """`while loop.time() < deadline: pass` comes to an end too, wherever it stands."""
        seen = []

        def poll(loop):
            start(lambda: (time.sleep(1), seen.append(now())))
            deadline = loop.time() + 2
            while loop.time() < deadline:
                pass
            seen.append("end")

        async def nested():
            poll(asyncio.get_running_loop())

        async def main():
            loop = asyncio.get_running_loop()
            if place == "coroutine":
                poll(loop)
            elif place == "callback":
                loop.call_soon(poll, loop)
            elif place == "thread":
                await asyncio.to_thread(poll, loop)
            else:
                await asyncio.to_thread(lambda: asyncio.run(nested()))
            await asyncio.sleep(1)
            return 2 <= loop.time() < 10

        assert simulate(main)
        assert seen == [1.0, "end"]

    def test_who_watches_it_for_ever_reaches_the_bound(self) -> None:
        """A loop around the clock that never ends is bounded like any other."""

        async def main():
            while True:
                asyncio.get_running_loop().time()

        assert outcome_of(main).name == "max_time"

    def test_many_may_look_at_one_instant(self) -> None:
        """Looking at the clock costs no time as long as the loop goes round."""

        async def look():
            for _ in range(5):
                for _ in range(1000):
                    asyncio.get_running_loop().time()
                await asyncio.sleep(0)

        async def main():
            await asyncio.gather(*(look() for _ in range(100)))
            return now()

        assert simulate(main) == 0.0

    @pytest.mark.parametrize("make", [queue.Queue, queue.SimpleQueue])
    def test_a_thread_that_polls_a_queue_gets_its_item(self, make) -> None:
        """A loop around get_nowait does not starve the producer."""

        def main():
            line = make()
            threading.Timer(3, line.put, ("item",)).start()
            while True:
                with contextlib.suppress(queue.Empty):
                    return line.get_nowait()

        assert simulate(main) == "item"

    def test_a_thread_that_polls_a_lock_gets_it(self) -> None:
        """A loop around acquire(blocking=False) does not starve the holder."""

        def main():
            lock = threading.Lock()

            def hold():
                with lock:
                    time.sleep(3)

            start(hold)
            while not lock.acquire(blocking=False):
                pass
            return now() >= 3

        assert simulate(main)

    def test_working_hard_costs_no_time(self) -> None:
        """Code that looks at clocks and locks often, but not only, sees no time pass."""

        def main():
            lock = threading.Lock()
            for _ in range(50_000):
                with lock:
                    time.time()
            return now()

        assert simulate(main) == 0.0


class TestInterrupt:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    @pytest.mark.parametrize("pause", [0, 1])
    def test_an_interrupt_in_a_blocking_function_ends_the_run(self, error, pause) -> None:
        """Ctrl-C leaves the simulation at once, and everything is restored."""

        def work():
            time.sleep(pause)
            raise error

        async def main():
            await asyncio.to_thread(work)

        sleep = time.sleep
        with pytest.raises(error):
            simulate(main)
        assert time.sleep is sleep
        assert simulate(lambda: (time.sleep(1), now())[1]) == 1.0


class TestGreenletsOfOthers:
    def test_code_may_use_greenlets_itself(self) -> None:
        """Libraries that switch greenlets (SQLAlchemy's asyncio support) may block inside them."""

        def inside():
            time.sleep(1)
            greenlet.getcurrent().parent.switch("half")
            time.sleep(1)
            return "whole"

        def work():
            inner = greenlet.greenlet(inside)
            return inner.switch(), inner.switch(), now()

        async def main():
            in_hub = work()
            in_threads = await asyncio.gather(asyncio.to_thread(work), asyncio.to_thread(work))
            return in_hub, in_threads

        assert simulate(main) == (("half", "whole", 2.0), [("half", "whole", 4.0)] * 2)


class TestEnd:
    def test_non_daemon_threads_are_waited_for(self) -> None:
        """The run ends when its last non-daemon thread has ended, as a program does."""
        seen = []

        def main():
            start(lambda: (time.sleep(10), seen.append(now())))

        assert outcome_of(main).duration_ns == 10_000_000_000
        assert seen == [10.0]

    def test_a_thread_with_a_loop_is_started_in_a_loop_of_another_kind(self) -> None:
        """Such as that in which a workflow engine runs what users wrote; that has no hooks for generators."""

        async def works():
            await asyncio.sleep(1)
            return "done"

        async def main():
            mine, seen = asyncio.get_running_loop(), []
            asyncio._set_running_loop(asyncio.AbstractEventLoop())
            try:
                start(lambda: seen.append(asyncio.run(works())))
            finally:
                asyncio._set_running_loop(mine)
            await asyncio.sleep(2)
            return seen

        assert simulate(main) == ["done"]

    def test_threads_hear_of_the_end_of_the_main_thread(self) -> None:
        """Those that work while it is alive come to their end, and not for ever on; it goes on to live outside."""
        seen = []

        def main():
            def works():
                while threading.main_thread().is_alive():
                    time.sleep(1)
                    seen.append(now())

            start(works)
            time.sleep(2.5)

        simulate(main)
        assert seen == [1.0, 2.0, 3.0]
        assert threading.main_thread().is_alive()

    def test_daemon_threads_are_abandoned(self) -> None:
        """A daemon thread is stopped where it stands and runs no finally."""
        seen = []

        def background():
            try:
                while True:
                    time.sleep(1)
                    seen.append(now())
            finally:
                seen.append("finally")

        def main():
            start(background, daemon=True)
            time.sleep(3.5)

        assert outcome_of(main).name == "ok"
        gc.collect()
        assert seen == [1.0, 2.0, 3.0]

    def test_a_run_leaves_no_thread_behind(self) -> None:
        """Whatever a run leaves undone, threading knows nothing of it afterwards."""

        def main():
            lock = threading.Lock()
            lock.acquire()
            start(lock.acquire, daemon=True)
            start(threading.Event().wait, daemon=True)
            asyncio.get_event_loop_policy()
            threading.Timer(1, print).cancel()

        before = threading.enumerate()
        simulate(main)
        assert threading.enumerate() == before
        assert not threading._limbo

    def test_a_lock_is_free_after_its_abandoned_holder(self) -> None:
        """What an abandoned thread held does not stay locked for the program after the run."""

        def hold():
            with PRE_LOCK, PRE_RLOCK, PRE_CONDITION:
                time.sleep(1000)

        def main():
            start(hold, daemon=True)
            time.sleep(1)

        simulate(main)
        taken = []

        def real():
            for lock in (PRE_LOCK, PRE_RLOCK, PRE_CONDITION):
                taken.append(lock.acquire(timeout=5))
                lock.release()

        start(real).join()
        assert taken == [True] * 3

    def test_nothing_is_patched_after_an_error(self) -> None:
        """After a run that fails the module's functions and the lock's methods are the original ones."""
        lock = type(threading.Lock())
        before = [
            time.sleep,
            threading.get_ident,
            lock.acquire,
            lock.__enter__,
            threading.RLock().__class__.release,
        ]

        def main():
            start(time.sleep, 5)
            raise ValueError

        with pytest.raises(ValueError):
            simulate(main)
        after = [
            time.sleep,
            threading.get_ident,
            lock.acquire,
            lock.__enter__,
            threading.RLock().__class__.release,
        ]
        assert after == before
        assert "acquire" not in vars(threading.Condition)
        assert threading.get_ident() == threading.main_thread().ident

    def test_executors_are_given_back_to_a_world_without_the_run(self, monkeypatch) -> None:
        """When real workers get their executor back, locks and queues are real ones already."""
        seen = []
        give_back = Pools.give_back

        def watched(pools):
            seen.append((switchboard.active, switchboard.here()))
            give_back(pools)

        monkeypatch.setattr(Pools, "give_back", watched)
        simulate(time.sleep, 1)
        assert seen == [(None, None)]

    def test_runs_may_follow_each_other(self) -> None:
        """A hundred runs with threads leave no greenlet running and give the same answer."""

        def main():
            with cf.ThreadPoolExecutor(2) as pool:
                return list(pool.map(lambda n: (time.sleep(n), now())[1], [1, 2, 3]))

        assert [simulate(main) for _ in range(100)] == [[1.0, 2.0, 4.0]] * 100

    def test_what_is_kept_of_an_abandoned_thread_is_little(self) -> None:
        """The frames of an abandoned thread stay for ever; the simulation and its history do not."""

        async def main():
            start(time.sleep, 100, daemon=True)
            await asyncio.sleep(1)

        simulation = Simulation()
        gone = weakref.ref(simulation)
        assert simulation.run(main).name == "ok"
        del simulation
        gc.collect()
        assert gone() is None


class TestDeadlock:
    def test_a_thread_that_waits_for_ever_is_reported(self) -> None:
        """The run ends at once and says who waits for what, where in the user's code."""

        def consume(line):
            line.get()

        def main():
            start(consume, queue.Queue(), name="consumer")
            time.sleep(1)

        outcome = outcome_of(main)
        assert outcome.name == "deadlock"
        assert outcome.duration_ns == 1_000_000_000
        (waiting,) = [one for one in outcome.waiting if one.task == "consumer"]
        assert waiting.waits_for == "Queue.get"
        assert waiting.process == "main"
        assert waiting.where.startswith("test_blocking.py:")
        assert waiting.where.endswith("consume")

    @pytest.mark.parametrize(
        ("block", "waits_for"),
        [
            (lambda: PRE_LOCK.acquire(), "Lock.acquire"),
            (lambda: PRE_RLOCK.acquire(), "RLock.acquire"),
            (lambda: queue.SimpleQueue().get(), "SimpleQueue.get"),
            (lambda: threading.Event().wait(), "Event.wait"),
            (lambda: threading.Barrier(2).wait(), "Barrier.wait"),
            (lambda: threading.Semaphore(0).acquire(), "Semaphore.acquire"),
            (lambda: cf.Future().result(), "Future.result"),
            (lambda: start(queue.Queue().get, daemon=True).join(), "Thread.join"),
        ],
    )
    def test_it_says_what_is_waited_for(self, block, waits_for) -> None:
        """The waiting call is named as the user knows it."""

        def hold():
            with PRE_LOCK, PRE_RLOCK:
                threading.Event().wait()

        def main():
            start(hold)
            block()

        outcome = outcome_of(main)
        assert outcome.name == "deadlock"
        waiting = [one for one in outcome.waiting if one.where.endswith("<lambda>")]
        assert [one.waits_for for one in waiting] == [waits_for]
        assert not PRE_LOCK.locked()

    def test_a_blocking_main_is_one_line(self) -> None:
        """The task that is there for the sake of a blocking function is not listed beside its thread."""

        def main():
            threading.Event().wait()

        (waiting,) = outcome_of(main).waiting
        assert (waiting.task, waiting.process, waiting.waits_for) == ("main", "main", "Event.wait")
        assert waiting.where.endswith("main")

    def test_who_awaits_a_thread_says_so(self) -> None:
        """A coroutine that awaits a blocking function waits for that thread, and where it is written."""

        def block():
            threading.Event().wait()

        async def main():
            await asyncio.to_thread(block)

        task, thread = outcome_of(main).waiting
        assert task.waits_for == f"thread {thread.task}"
        assert task.where.endswith("main")
        assert (thread.waits_for, thread.where.endswith("block")) == ("Event.wait", True)

    def test_an_event_loop_in_a_thread_is_named_as_such(self) -> None:
        """The thread waits for its event loop, and the loop's tasks say for what."""

        async def part():
            await asyncio.Event().wait()

        def main():
            asyncio.run(part())

        task, thread = outcome_of(main).waiting
        assert task.waits_for == "Event.wait"
        assert (thread.task, thread.waits_for) == ("main", "its event loop")
        assert "in TestDeadlock.test_an_event_loop" in thread.where

    @pytest.mark.parametrize("blocks", [True, False])
    def test_the_place_is_in_the_users_own_code(self, blocks, tmp_path, monkeypatch) -> None:
        """Not in the library that they installed; in that only if no code of theirs is involved."""
        folder = tmp_path / "site-packages"
        folder.mkdir()
        code = (
            "def wait(event):\n    return event.wait()\nasync def await_it(event):\n    await event.wait()\n"
        )
        (folder / "installed_library.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(folder)
        library = importlib.import_module("installed_library")

        def own():
            library.wait(threading.Event())

        async def aown():
            await library.await_it(asyncio.Event())

        (waiting,) = outcome_of(own if blocks else aown).waiting
        assert waiting.where.startswith("test_blocking.py:")
        call = (library.wait, threading.Event()) if blocks else (library.await_it, asyncio.Event())
        (waiting,) = outcome_of(*call).waiting
        assert waiting.where.startswith("installed_library.py:")

    def test_two_threads_that_hold_what_the_other_needs(self) -> None:
        """The classic deadlock is found at once and both lines are named."""

        def main():
            a, b = threading.Lock(), threading.Lock()

            def take(first, second):
                with first:
                    time.sleep(1)
                    with second:
                        pass

            start(take, a, b, name="one")
            start(take, b, a, name="two")

        outcome = outcome_of(main)
        assert outcome.name == "deadlock"
        waiting = {(one.task, one.waits_for) for one in outcome.waiting}
        assert waiting >= {("one", "Lock.acquire"), ("two", "Lock.acquire")}

    def test_a_coroutine_that_blocks_for_ever(self) -> None:
        """A blocking call in a coroutine that nobody can end is a deadlock, not a hang."""

        async def main():
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()

        assert outcome_of(main).name == "deadlock"

    def test_what_follows_a_deadlock_is_unharmed(self) -> None:
        """After a deadlock the next run and the program itself go on as ever."""
        for _ in range(3):
            assert outcome_of(lambda: threading.Event().wait()).name == "deadlock"
            assert simulate(lambda: (time.sleep(1), now())[1]) == 1.0
        assert isinstance(outcome_of(lambda: PRE_QUEUE.get()).error, Deadlock)
        PRE_QUEUE.put(1)
        assert PRE_QUEUE.get(timeout=5) == 1


class TestCrash:
    def test_a_crash_runs_no_code_of_the_crashed(self) -> None:
        """No finally, no except, no __exit__ runs: at the crash, at the end of the run, or later."""
        seen = []

        @contextlib.contextmanager
        def manager():
            try:
                yield
            finally:
                seen.append("exit")

        def victim():
            try:
                with manager():
                    thread = start(nested)
                    time.sleep(100)
                    thread.join()
            except BaseException:
                seen.append("except")
            finally:
                seen.append("finally")

        def nested():
            try:
                time.sleep(50)
            finally:
                seen.append("nested finally")

        async def main():
            start_process("victim", victim)
            await asyncio.sleep(1)
            await crash("victim")
            await asyncio.sleep(1000)

        simulate(main)
        gc.collect()
        assert seen == []

    def test_a_crash_takes_the_threads_of_its_process_only(self) -> None:
        """Threads belong to the process whose code started them."""
        seen = []

        def work(name):
            def inner():
                for _ in range(4):
                    time.sleep(1)
                    seen.append((name, now()))

            start(inner).join()

        async def main():
            start_process("a", work, "a")
            start_process("b", work, "b")
            await asyncio.sleep(2.5)
            await crash("a")

        simulate(main)
        assert [at for name, at in seen if name == "a"] == [1.0, 2.0]
        assert [at for name, at in seen if name == "b"] == [1.0, 2.0, 3.0, 4.0]

    def test_a_restarted_process_finds_its_locks_free(self) -> None:
        """What the crashed process held in locks of a module is released: its memory is gone."""
        seen = []

        def work():
            with PRE_LOCK, PRE_RLOCK, PRE_SEMAPHORE if not seen else contextlib.nullcontext():
                seen.append(("in", now()))
                time.sleep(10)
                seen.append(("out", now()))

        async def main():
            process = start_process("worker", work, restart_after=5)
            await asyncio.sleep(3)
            await crash("worker", restart_after=5)
            await process

        simulate(main)
        PRE_SEMAPHORE.release()  # a count, not a lock: nobody knows who took it
        assert seen == [("in", 0.0), ("in", 8.0), ("out", 18.0)]

    def test_a_crashed_waiter_gets_nothing(self) -> None:
        """An item, a notification or a lock goes to a living waiter, not to one that has crashed."""
        got = []

        def wait(name, how):
            got.append((name, how()))

        async def main():
            line = queue.Queue()
            simple = queue.SimpleQueue()
            start_process("dead", wait, "dead", line.get)
            start_process("dead too", wait, "dead too", simple.get)
            start_process("alive", wait, "alive", line.get)
            start_process("alive too", wait, "alive too", simple.get)
            await asyncio.sleep(1)
            await crash("dead")
            await crash("dead too")
            line.put(1)
            simple.put(2)

        simulate(main)
        assert got == [("alive", 1), ("alive too", 2)]

    def test_a_crashed_sleeper_does_not_hold_up_the_run(self) -> None:
        """The timer of a crashed thread moves no clock."""

        async def main():
            start_process("sleeper", time.sleep, 10_000)
            await asyncio.sleep(1)
            await crash("sleeper")

        assert outcome_of(main).duration_ns == 1_000_000_000

    def test_a_crashed_sleeper_hides_no_deadlock(self) -> None:
        """What nobody will ever wake is found at the time of the crash, not when the dead would have woken."""

        async def main():
            start_process("sleeper", time.sleep, 10_000)
            start_process("waiter", threading.Event().wait, 20_000)
            await asyncio.sleep(1)
            await crash("sleeper")
            await crash("waiter")
            await asyncio.Event().wait()

        outcome = outcome_of(main)
        assert (outcome.name, outcome.duration_ns) == ("deadlock", 1_000_000_000)

    def test_a_thread_that_crashes_its_own_process_stops_at_its_next_wait(self) -> None:
        """It neither returns nor unwinds."""
        seen = []

        def suicidal(simulation):
            try:
                simulation.processes["victim"].crash()
                seen.append("goes on")
                time.sleep(1)
                seen.append("never")
            finally:
                seen.append("finally")

        async def main():
            start_process("victim", suicidal, simulation)
            await asyncio.sleep(5)
            return now()

        simulation = Simulation()
        assert simulation.run(main).value == 5.0
        assert seen == ["goes on"]

    def test_a_thread_started_by_the_crashed_one_cannot_wake_it(self) -> None:
        """A thread that crashes the very thread that is just starting it never gives control back to it."""
        seen = []

        def parent(simulation):
            try:
                start(simulation.processes["victim"].crash)
                seen.append("parent goes on")
            finally:
                seen.append("finally")

        async def main():
            start_process("victim", parent, simulation)
            await asyncio.sleep(5)

        simulation = Simulation()
        assert simulation.run(main).name == "ok"
        assert seen == []

    def test_a_crash_while_others_wait_in_line(self) -> None:
        """Dead waiters leave the line; the living keep their order."""
        order = []

        def work(name):
            with PRE_LOCK:
                time.sleep(1)
                order.append((name, now()))

        async def main():
            for name in "abcd":
                start_process(name, work, name)
            await asyncio.sleep(0.5)
            await crash("a")  # holds it
            await crash("c")  # waits for it

        simulate(main)
        assert order == [("b", 1.5), ("d", 2.5)]
        assert not PRE_LOCK.locked()


EXIT_CASES = {
    "a plain run": "simulate(lambda: time.sleep(5))",
    "a thread abandoned as a daemon": """
        def background():
            try:
                while True:
                    time.sleep(1)
            finally:
                print("FINALLY RAN")
        def main():
            threading.Thread(target=background, daemon=True).start()
            time.sleep(3)
        simulate(main)
    """,
    "a deadlock of non-daemon threads": """
        def wait(event):
            try:
                event.wait()
            finally:
                print("FINALLY RAN")
        def main():
            threading.Thread(target=wait, args=(threading.Event(),)).start()
        simulate(main)
    """,
    "a crash": """
        import asyncio
        from wfsim.kernel import crash, start_process
        def victim():
            try:
                threading.Thread(target=time.sleep, args=(100,)).start()
                with open(os.devnull) as f, threading.Lock():
                    time.sleep(100)
            finally:
                print("FINALLY RAN")
        async def main():
            start_process("victim", victim)
            await asyncio.sleep(1)
            await crash("victim")
        simulate(main)
    """,
    "a pool never shut down": """
        from concurrent.futures import ThreadPoolExecutor
        def main():
            global pool
            pool = ThreadPoolExecutor()
            pool.submit(time.sleep, 5)
        simulate(main)
    """,
    "a pool with a stuck worker": """
        from concurrent.futures import ThreadPoolExecutor
        def main():
            global pool
            pool = ThreadPoolExecutor()
            pool.submit(threading.Event().wait)
        simulate(main)
    """,
    "a run in a thread that is not the main one": """
        def background():
            try:
                time.sleep(1000)
            finally:
                print("FINALLY RAN")
        def main():
            threading.Thread(target=background, daemon=True).start()
            time.sleep(1)
        real = threading.Thread(target=lambda: simulate(main))
        real.start()
        real.join()
        import gc; gc.collect()
    """,
    "a real thread that outlives the run": """
        event = threading.Event()
        real = threading.Thread(target=event.wait)
        real.start()
        simulate(lambda: time.sleep(5))
        event.set()
    """,
}


class TestExit:
    @pytest.mark.parametrize("case", EXIT_CASES)
    def test_the_interpreter_exits_cleanly(self, case: str) -> None:
        """It does not hang, crash, print anything, or run a finally of what was abandoned or crashed."""
        code = "import os, threading, time\nfrom wfsim.kernel import Simulation\n"
        code += "def simulate(main):\n    return Simulation().run(main)\n"
        result = run_python(code + textwrap.dedent(EXIT_CASES[case]) + "\nprint('end')\n")
        assert (result.returncode, result.stdout, result.stderr) == (0, "end\n", "")


class TestDeterminism:
    def test_the_order_of_futures_is_that_of_their_making(self) -> None:
        """Both wait and as_completed give futures in an order that does not depend on addresses in memory."""

        def main():
            keep = [bytearray(n * 7) for n in range(40)]  # so that addresses differ from run to run
            with cf.ThreadPoolExecutor(8) as pool:
                futures = [pool.submit(time.sleep, 1) for _ in range(20)]
                done, _ = cf.wait(futures)
                order = [futures.index(one) for one in cf.as_completed(futures)]
                return [futures.index(one) for one in done], order, keep

        first = simulate(main)[:2]
        for _ in range(20):
            assert simulate(main)[:2] == first
        assert first[0] == list(range(20))

    def test_a_run_does_not_depend_on_the_hash_seed(self) -> None:
        """Two interpreters with different PYTHONHASHSEED write the same trace of a busy program."""
        code = """
            import queue, random, threading, time
            from concurrent.futures import ThreadPoolExecutor, as_completed
            from wfsim.kernel import Simulation
            trace = []
            def note(what): trace.append((time.monotonic_ns(), threading.current_thread().name, what))
            def main():
                lock, line = threading.Lock(), queue.Queue(3)
                def work(n):
                    for _ in range(5):
                        time.sleep(random.choice([0, 0.5, 1, 2]))
                        with lock:
                            note(("locked", n))
                            time.sleep(random.random())
                        line.put(n)
                def consume():
                    while (n := line.get()) is not None:
                        note(("got", n))
                consumer = threading.Thread(target=consume)
                consumer.start()
                with ThreadPoolExecutor(4) as pool:
                    for future in as_completed({pool.submit(work, n) for n in range(6)}):
                        note(("done", future.result()))
                line.put(None)
            print(Simulation(seed=5).run(main).name, trace)
        """
        seen = {
            subprocess.run(
                [sys.executable, "-c", textwrap.dedent(code)],
                env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2", "3")
        }
        assert len(seen) == 1
        assert seen.pop().startswith("ok [(")

    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=8),
        st.sampled_from([threading.Lock, threading.RLock, threading.Condition]),
    )
    @settings(max_examples=60, deadline=None)
    def test_a_lock_is_a_fair_queue(self, visits, make) -> None:
        """Whoever comes first is served first, and nobody waits longer than the holders before him take."""
        served = []

        def main():
            lock = make()

            def visit(n, arrival, stay):
                time.sleep(arrival)
                with lock:
                    begin = now()
                    time.sleep(stay)
                    served.append((n, begin, now()))

            for thread in [start(visit, n, *one) for n, one in enumerate(visits)]:
                thread.join()

        simulate(main)
        expected, free = [], 0.0
        for n, (arrival, stay) in sorted(enumerate(visits), key=lambda one: one[1][0]):
            begin = max(free, float(arrival))
            free = begin + stay
            expected.append((n, begin, free))
        assert served == expected


def test_code_that_blocks_reads_the_clock_of_the_run():
    """`now` needs no running loop: the main function, a thread and an executor's work all see the same time."""
    seen = []

    def look(seconds):
        time.sleep(seconds)
        seen.append(wfsim_now())

    def main():
        look(2)
        thread = threading.Thread(target=look, args=(1,))
        thread.start()
        thread.join()
        with cf.ThreadPoolExecutor() as pool:
            pool.submit(look, 0.5).result()
        asyncio.run(asyncio.to_thread(look, 0.25))

    outcome = Simulation().run(main)
    assert outcome.error is None
    assert seen == [2, 3, 3.5, 3.75]
    with pytest.raises(RuntimeError, match="no running event loop"):
        wfsim_now()
