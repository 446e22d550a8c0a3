from __future__ import annotations

import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import random
import secrets
import socket
import subprocess
import sys
import textwrap
import threading
import time
import types
import uuid
from datetime import UTC, date, datetime
from functools import lru_cache
from time import monotonic as captured_monotonic
from time import time as captured_time

import pytest
import time_machine

from wfsim.errors import RealIOError
from wfsim.kernel._streams import Stream
from wfsim.kernel._world import World, inside

START = datetime(2030, 1, 1, tzinfo=UTC)
START_S = START.timestamp()


class FakeClock:
    def __init__(self) -> None:
        self.now_ns = 0


class FakeSimulation:
    def __init__(self, seed: int = 0, start: datetime = START) -> None:
        self.environment = FakeClock()
        self.start = start
        self._seed = seed
        self._streams: dict[str, Stream] = {}

    def stream(self, name: str) -> Stream:
        return self._streams.setdefault(name, Stream(self._seed, name))


def in_world(fn, seed: int = 0):
    with World(FakeSimulation(seed)):
        return fn()


def in_real_thread(fn):
    """Run fn in a real thread, from inside or outside of a world."""
    result = []
    thread = threading.Thread(target=lambda: result.append(fn()))
    thread.start()
    thread.join()
    return result[0]


# -- what user code may look like: all of it captured before any run

ORIGINAL = (time.monotonic, time.perf_counter)


def by_default(now=time.monotonic):
    return now()


def by_keyword(*, now=time.monotonic):
    return now()


@lru_cache(maxsize=1)
def cached(_key: int, now=time.monotonic):
    return now()


def wrapped(function):
    def inner(*args):
        return function(*args)

    return inner


@wrapped
def decorated(now=time.monotonic):
    return now()


class Timed:
    read = time.monotonic
    read_static = staticmethod(time.monotonic)

    class Inner:  # noqa: D106
        def method(self, now=time.monotonic):
            return now()

    def method(self, now=time.monotonic):
        return now()

    @classmethod
    def of_class(cls, now=time.monotonic):
        return now()

    @staticmethod
    def static(now=time.monotonic):
        return now()

    @property
    def through_property(self):
        return time.monotonic()


@dataclasses.dataclass
class Stamped:
    at: float = dataclasses.field(default_factory=time.monotonic)


CAPTURED = {
    "module global": lambda: captured_monotonic(),
    "default argument": by_default,
    "keyword-only default": by_keyword,
    "default behind a decorator": decorated,
    "default behind lru_cache": lambda: cached(time.perf_counter_ns()),
    "class attribute": lambda: Timed().read(),
    "class attribute on the class": lambda: Timed.read(),
    "staticmethod": lambda: Timed().read_static(),
    "method default": lambda: Timed().method(),
    "classmethod default": lambda: Timed.of_class(),
    "staticmethod default": lambda: Timed.static(),
    "nested class": lambda: Timed.Inner().method(),
    "property": lambda: Timed().through_property,
    "dataclass default_factory": lambda: Stamped().at,
}


class TestTime:
    def test_the_wall_clock_starts_at_the_start_date(self) -> None:
        """Every way to ask for the date tells the start date when the run begins."""
        with World(FakeSimulation()):
            assert time.time() == START_S
            assert time.time_ns() == int(START_S) * 10**9
            assert captured_time() == START_S
            assert datetime.now(UTC) == START
            assert datetime.utcnow() == START.replace(tzinfo=None)
            assert time.gmtime()[:6] == (2030, 1, 1, 0, 0, 0)
            assert time.strftime("%Y", time.gmtime()) == "2030"
            assert date.fromtimestamp(time.time()) == date.fromtimestamp(START_S)
            if hasattr(time, "clock_gettime"):
                assert time.clock_gettime(time.CLOCK_REALTIME) == START_S

    def test_all_clocks_follow_the_virtual_clock(self) -> None:
        """A second on the simulation's clock is a second on every clock."""
        simulation = FakeSimulation()
        with World(simulation):
            simulation.environment.now_ns = 1_500_000_000
            assert time.time() == START_S + 1.5
            assert datetime.now(UTC).timestamp() == START_S + 1.5
            for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
                assert getattr(time, name)() == 1.5
                assert getattr(time, name + "_ns")() == 1_500_000_000
            if hasattr(time, "clock_gettime"):
                assert time.clock_gettime(time.CLOCK_MONOTONIC) == 1.5
                assert time.clock_gettime_ns(time.CLOCK_MONOTONIC) == 1_500_000_000

    def test_the_start_date_can_be_set(self) -> None:
        """A simulation may begin at any date, also one before today."""
        start = datetime(1999, 12, 31, 23, 59, 59, 250_000, tzinfo=UTC)
        with World(FakeSimulation(start=start)):
            assert datetime.now(UTC) == start

    @pytest.mark.parametrize("how", CAPTURED)
    def test_a_captured_reference_reads_the_virtual_clock(self, how: str) -> None:
        """It does not matter in which way code got hold of a clock before the run."""
        simulation = FakeSimulation()
        with World(simulation):
            simulation.environment.now_ns = 42_000_000_000
            assert CAPTURED[how]() == 42.0
        cached.cache_clear()
        assert abs(CAPTURED[how]() - time.monotonic()) < 5

    def test_a_module_imported_in_a_run_is_put_right_after_it(self, tmp_path, monkeypatch) -> None:
        """What such a module captured reads the virtual clock, and is the original afterwards."""
        (tmp_path / "late_module.py").write_text(
            "from time import monotonic\nclass C:\n    now = monotonic\ndef f(x=monotonic):\n    return x()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        with World(FakeSimulation()):
            late = importlib.import_module("late_module")
            assert late.monotonic() == late.C().now() == late.f() == 0.0
        assert late.monotonic is late.C.now is ORIGINAL[0]
        assert late.f.__defaults__ == (ORIGINAL[0],)
        del sys.modules["late_module"]

    def test_a_global_set_after_the_first_run_is_found(self) -> None:
        """A reference that a known module takes between two runs is replaced in the second."""
        in_world(time.monotonic)
        module = types.ModuleType("grows")
        sys.modules["grows"] = module
        try:
            in_world(lambda: None)
            module.clock = time.monotonic
            assert in_world(lambda: module.clock()) == 0.0
            assert module.clock is ORIGINAL[0]
        finally:
            del sys.modules["grows"]

    def test_a_reference_kept_from_a_run_reads_the_real_clock_later(self) -> None:
        """What escapes from a run never dangles."""
        kept = in_world(lambda: (time.monotonic, time.sleep, os.urandom))
        assert abs(kept[0]() - time.monotonic()) < 5
        kept[1](0)
        assert len(kept[2](4)) == 4

    def test_other_threads_live_in_real_time(self) -> None:
        """While a simulation runs, a real thread reads real clocks, and its locks and sleeps are real."""
        ready, go, seen = threading.Event(), threading.Event(), []

        def outside() -> None:
            ready.set()
            go.wait(10)
            before = time.perf_counter()
            time.sleep(0.01)
            seen.extend([time.time(), datetime.now(UTC).year, time.perf_counter() - before, os.urandom(4)])

        thread = threading.Thread(target=outside)
        thread.start()
        ready.wait(10)
        today = time.time()
        with World(FakeSimulation()):
            go.set()
            thread.join()
        assert abs(seen[0] - today) < 60
        assert seen[1] == datetime.now(UTC).year
        assert seen[2] >= 0.01
        assert seen[3] != in_world(lambda: os.urandom(4))

    def test_a_journey_of_time_machine_goes_on_after_the_run(self) -> None:
        """A test that travels with time-machine around a simulation is where it was afterwards."""
        with time_machine.travel(datetime(2001, 1, 1, tzinfo=UTC), tick=False):
            assert in_world(lambda: datetime.now(UTC).year) == 2030
            assert datetime.now(UTC).year == 2001
        assert datetime.now(UTC).year >= 2025

    def test_a_journey_begun_in_the_run_does_not_survive_it(self) -> None:
        """Code that travels in a run and forgets to come back harms neither the run nor what follows."""

        def main() -> int:
            journey = time_machine.travel(datetime(2001, 1, 1, tzinfo=UTC), tick=False)
            journey.start()
            return datetime.now(UTC).year

        try:
            assert in_world(main) == 2001
        finally:
            time_machine.traveller_stack.clear()
        in_world(time.time)
        assert not time_machine.traveller_stack


class TestRestored:
    def snapshot(self):
        names = [(time, name) for name in dir(time)] + [
            (os, "urandom"),
            (random, "seed"),
            (random.Random, "seed"),
        ]
        held = {(str(owner), name): getattr(owner, name) for owner, name in names}
        return (
            held,
            by_default.__defaults__,
            vars(Timed)["read_static"],
            Timed.read,
            uuid._node,
            random.getstate(),
        )

    @pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
    def test_everything_is_put_back(self, error) -> None:
        """After a run, also one that ends in an error, the standard library is as it was."""
        uuid.getnode()
        before = self.snapshot()
        with contextlib.suppress(ValueError, KeyboardInterrupt), World(FakeSimulation()):
            random.random()
            uuid.uuid1()
            if error is not None:
                raise error
        assert self.snapshot() == before
        assert not inside()

    def test_entering_that_fails_leaves_nothing_behind(self) -> None:
        """If the world cannot be entered, all of it stays as it was and the next one can be."""

        class Broken(FakeSimulation):
            def stream(self, _name: str) -> Stream:
                raise ZeroDivisionError

        before = self.snapshot()
        with pytest.raises(ZeroDivisionError):
            World(Broken()).__enter__()
        assert self.snapshot() == before
        assert in_world(lambda: time.monotonic()) == 0.0

    def test_a_patch_that_the_code_itself_made_is_left_alone(self, monkeypatch) -> None:
        """A test's own monkeypatch of a clock is stronger than the simulation, and survives it."""
        fake = lambda: 123.0
        monkeypatch.setattr(time, "perf_counter", fake)
        assert in_world(lambda: time.perf_counter()) == 123.0
        assert time.perf_counter is fake

    def test_worlds_do_not_nest(self) -> None:
        """A second simulation in the same thread is refused and says what to do; the first goes on."""
        with World(FakeSimulation()):
            with pytest.raises(RuntimeError, match="already"):
                World(FakeSimulation()).__enter__()
            assert time.monotonic() == 0.0
        assert time.monotonic is ORIGINAL[0]

    def test_worlds_of_two_threads_take_turns(self) -> None:
        """Simulations in several threads run one after the other, each with its own clock."""
        seen, running = [], []

        def run(number: int) -> None:
            simulation = FakeSimulation(number)
            with World(simulation):
                running.append(number)
                assert len(running) == 1
                simulation.environment.now_ns = number
                for _ in range(200):
                    assert time.monotonic_ns() == number
                seen.append((number, random.random()))
                running.remove(number)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [(n, in_world(random.random, n)) for n in range(1, 5)]


CHANCE = {
    "random": lambda: random.random(),
    "shuffle": lambda: random.sample(range(100), 10),
    "Random()": lambda: random.Random().random(),
    "seed()": lambda: (random.seed(), random.random())[1],
    "SystemRandom": lambda: random.SystemRandom().random(),
    "uuid4": uuid.uuid4,
    "uuid1": uuid.uuid1,
    "urandom": lambda: os.urandom(16),
    "token_hex": lambda: secrets.token_hex(16),
    "token_urlsafe": lambda: secrets.token_urlsafe(),
    "randbelow": lambda: secrets.randbelow(10**12),
    "choice": lambda: secrets.choice(range(10**9)),
}
if hasattr(os, "getrandom"):
    CHANCE["getrandom"] = lambda: os.getrandom(8)


class TestChance:
    @pytest.mark.parametrize("source", CHANCE)
    def test_chance_comes_from_the_seed(self, source: str) -> None:
        """The same seed gives the same value, another seed another one, and two draws in a run differ."""
        draw = CHANCE[source]
        assert in_world(draw, 1) == in_world(draw, 1)
        assert in_world(draw, 1) != in_world(draw, 2)
        first, second = in_world(lambda: (draw(), draw()), 1)
        assert first != second

    @pytest.mark.parametrize("source", CHANCE)
    def test_chance_is_real_outside(self, source: str) -> None:
        """After a run all sources give what they give without wfsim: something else each time."""
        draw = CHANCE[source]
        in_world(draw)
        assert draw() != draw()

    def test_a_given_seed_stays_the_users(self) -> None:
        """`random.seed(5)` and `Random(5)` mean the same inside as outside."""
        outside = random.Random(5).random()
        assert in_world(lambda: random.Random(5).random()) == outside
        assert in_world(lambda: (random.seed(5), random.random())[1]) == outside

    def test_the_program_draws_on_where_it_stood(self) -> None:
        """The state of the global generator is the program's own again after the run."""
        random.seed(77)
        expected = [random.random() for _ in range(3)]
        random.seed(77)
        drawn = [random.random()]
        in_world(lambda: [random.random() for _ in range(10)])
        assert [*drawn, random.random(), random.random()] == expected

    def test_uuid1_tells_the_virtual_time(self) -> None:
        """A time-based UUID bears the virtual date and no network card's number."""
        made = in_world(uuid.uuid1)
        assert (made.time - 0x01B21DD213814000) / 1e7 == START_S
        assert made.node >> 40 & 1

    def test_urandom_refuses_what_it_always_refused(self) -> None:
        """A negative length is a ValueError, inside and outside."""
        with pytest.raises(ValueError):
            os.urandom(-1)
        with pytest.raises(ValueError):
            in_world(lambda: os.urandom(-1))

    def test_streams_of_other_consumers_are_untouched(self) -> None:
        """What the program draws from `random` moves no stream of the simulation's own."""
        alone = in_world(lambda: Stream(0, "nemesis/0").random())
        assert in_world(lambda: (random.random(), Stream(0, "nemesis/0").random())[1]) == alone


REAL_IO = {
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "connect_ex": lambda: socket.socket().connect_ex(("127.0.0.1", 9)),
    "bind": lambda: socket.socket().bind(("127.0.0.1", 0)),
    "sendto": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "getaddrinfo": lambda: socket.getaddrinfo("localhost", 80),
    "gethostbyname": lambda: socket.gethostbyname("localhost"),
    "Popen": lambda: subprocess.run([sys.executable, "-c", ""], check=False),
    "system": lambda: os.system("true"),
    "fork": lambda: os.fork() or os._exit(0),
    "posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "execv": lambda: os.execv("/bin/true", ["true"]),
    "multiprocessing spawn": lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    "multiprocessing fork": lambda: multiprocessing.get_context("fork").Process(target=print).start(),
}


@pytest.mark.skipif(sys.platform == "win32", reason="names of POSIX")
class TestRealIO:
    @pytest.mark.parametrize("what", REAL_IO)
    def test_real_io_is_refused(self, what: str) -> None:
        """The error names what was attempted and says what to do instead."""
        with pytest.raises(RealIOError, match=r"real I/O.*fake.*asyncio\.sleep"):
            in_world(REAL_IO[what])

    def test_the_error_tells_the_address(self) -> None:
        """Whoever reads the error knows which service the code wanted."""
        with pytest.raises(RealIOError, match=r"getaddrinfo\('payments\.example'\)"):
            in_world(lambda: socket.create_connection(("payments.example", 443)))

    def test_outside_nothing_is_refused(self) -> None:
        """Before and after a run sockets and subprocesses work."""
        in_world(lambda: None)
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            socket.create_connection(server.getsockname()).close()
        assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout

    def test_other_threads_may_do_real_io(self) -> None:
        """The wall stands around the simulation only."""
        ready, go, seen = threading.Event(), threading.Event(), []

        def outside() -> None:
            ready.set()
            go.wait(10)
            seen.append(socket.getaddrinfo("127.0.0.1", 80))

        thread = threading.Thread(target=outside)
        thread.start()
        ready.wait(10)
        with World(FakeSimulation()):
            go.set()
            thread.join()
        assert seen

    def test_files_and_imports_are_allowed(self, tmp_path) -> None:
        """Ordinary files may be written and read in a run."""

        def main() -> str:
            (tmp_path / "x").write_text("hello")
            importlib.import_module("colorsys")
            return (tmp_path / "x").read_text()

        assert in_world(main) == "hello"

    def test_a_socket_pair_stays_possible(self) -> None:
        """The stock loops of asyncio make one for themselves; it goes nowhere."""
        in_world(lambda: [one.close() for one in socket.socketpair()])


def test_two_interpreters_see_the_same_world() -> None:
    """What a world shows depends on the seed only, not on PYTHONHASHSEED or the process."""
    code = textwrap.dedent("""
        import sys, time, uuid, random, secrets, tempfile
        from datetime import datetime, UTC
        from wfsim.kernel._world import World
        from wfsim.kernel._streams import Stream
        class Clock: now_ns = 5
        class Simulation:
            environment, start = Clock(), datetime(2030, 1, 1, tzinfo=UTC)
            def stream(self, name): return Stream(3, name)
        with World(Simulation()):
            print(time.time_ns(), uuid.uuid4(), uuid.uuid1(), random.random(), secrets.token_hex(4))
    """)
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
