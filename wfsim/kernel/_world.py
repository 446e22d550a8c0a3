"""What the outside world looks like from inside a run: the time, chance, and a wall around real I/O.

While a simulation runs, the thread that runs it sees the virtual clock, the run's own random numbers and no
network. Every other thread sees the real world. Ordinary files may be read and written.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from _thread import allocate_lock, get_ident
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import time_machine

from wfsim.kernel import _patching
from wfsim.kernel._realio import refuse_real_io
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wfsim.kernel._streams import Stream

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEED_BITS = 256
_NODE_BITS = 48
_NO_REAL_NODE = 1 << 40  # the multicast bit: a node number of uuid1 that is no network card's (RFC 4122, 4.5)


class _Clock(Protocol):
    @property
    def now_ns(self) -> int: ...


class _Simulation(Protocol):
    start: datetime

    @property
    def environment(self) -> _Clock: ...
    def stream(self, name: str) -> Stream: ...


class World:
    """A context manager: as long as it is entered, this thread lives in the simulation's world.

    Everything that it changes is put back when it is left, also after an error. There is one world at a time;
    a simulation in another thread waits for its turn.

    Raises:
        RuntimeError: this thread is in a world already.
    """

    def __init__(self, simulation: _Simulation) -> None:
        self.clock = simulation.environment
        self.start_ns = (simulation.start - _EPOCH) // timedelta(microseconds=1) * 1_000
        self.thread = 0
        self.stream = simulation.stream
        self.on_look: Callable[[], object] = _nothing  # called each time code looks at a clock
        self._undo: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        if inside():
            raise RuntimeError(
                "a simulation runs in this thread already; inside it, `await` the design or the coroutine"
            )
        try:
            for enter in (self._begin, self._travel, self._seed, self._patch):
                enter()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        errors: list[Exception] = []
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as error:  # noqa: BLE001  (the rest must be put back all the same)
                errors.append(error)
        if errors:
            raise errors[0]

    def _begin(self) -> None:
        global _active  # noqa: PLW0603
        _turn.acquire()
        self._undo.append(_end)
        refuse_real_io(inside)
        self.thread = get_ident()
        _active = self

    def _travel(self) -> None:
        # time-machine covers `time.time`, `datetime.now` and their like in C, whoever refers to them.
        stack = time_machine.traveller_stack
        before = stack[-1] if stack else None
        journey = time_machine.travel(0, tick=False)
        journey.start()
        stack[-1] = traveller = _Traveller(self, before)

        def back() -> None:
            stack.remove(traveller)  # code of the run may have left journeys of its own on top
            stack.append(traveller)
            journey.stop()

        self._undo.append(back)

    def _seed(self) -> None:
        state, node = random.getstate(), uuid._node  # type: ignore[attr-defined]
        self._undo.append(lambda: random.setstate(state))
        self._undo.append(lambda: setattr(uuid, "_node", node))
        _Real.seed(self.random_seed())
        uuid._node = self.stream("world/uuid").randbits(_NODE_BITS) | _NO_REAL_NODE  # type: ignore[attr-defined]

    def _patch(self) -> None:
        self._undo.append(_patching.restore)
        _patching.install()

    def random_seed(self) -> int:
        """What seeds a generator that was given no seed."""
        return self.stream("world/random").randbits(_SEED_BITS)


_active: World | None = None
_turn = allocate_lock()


def _end() -> None:
    global _active  # noqa: PLW0603
    _active = None
    _turn.release()


def active_world() -> World | None:
    """The world that is entered now, in whatever thread."""
    return _active


def _nothing() -> None:
    """Nobody wants to know."""


def inside() -> bool:
    """Whether a simulation runs in this thread."""
    return _active is not None and _active.thread == get_ident()


class _Real:
    """The originals, where the search for references to them does not look."""

    seed = random.seed
    urandom = staticmethod(os.urandom)
    getrandom: Any = staticmethod(getattr(os, "getrandom", os.urandom))


# -- time


class _Traveller(time_machine.Traveller):
    """Tells time-machine the date only when it is asked for: a clock that moves costs nothing."""

    def __init__(self, world: World, before: time_machine.Traveller | None) -> None:
        super().__init__(world.start_ns, None, tick=False)
        self._world = world
        self._before = before

    def time_ns(self) -> int:
        world = self._world
        if get_ident() == world.thread:
            world.on_look()
            return world.start_ns + world.clock.now_ns
        if self._before is not None:
            return self._before.time_ns()
        return time_machine.escape_hatch.time.time_ns()


def _virtual_seconds(original: Callable[[], float]) -> Callable[[], float]:
    def read() -> float:
        world = _active
        if world is None or get_ident() != world.thread:
            return original()
        world.on_look()
        return world.clock.now_ns / NS_PER_SECOND

    return read


def _virtual_nanoseconds(original: Callable[[], int]) -> Callable[[], int]:
    def read() -> int:
        world = _active
        if world is None or get_ident() != world.thread:
            return original()
        world.on_look()
        return world.clock.now_ns

    return read


def _virtual_clock(original: Callable[[int], Any], unit: int) -> Callable[[int], Any]:
    def clock_gettime(clock_id: int, /) -> Any:
        world = _active
        # The wall clock is time-machine's; all the others stand at zero when the run begins.
        if world is None or get_ident() != world.thread or clock_id == time.CLOCK_REALTIME:
            return original(clock_id)
        world.on_look()
        return world.clock.now_ns if unit == 1 else world.clock.now_ns / unit

    return clock_gettime


# A processor's time is that of a process which is busy from its start.
for _name in ("monotonic", "perf_counter", "process_time", "thread_time"):
    if hasattr(time, _name):
        _original = getattr(time, _name)
        _patching.replace(_original, _virtual_seconds(_original))
        _original = getattr(time, f"{_name}_ns")
        _patching.replace(_original, _virtual_nanoseconds(_original))
if hasattr(time, "clock_gettime"):
    _patching.replace(time.clock_gettime, _virtual_clock(time.clock_gettime, NS_PER_SECOND))
    _patching.replace(time.clock_gettime_ns, _virtual_clock(time.clock_gettime_ns, 1))


# -- chance


def _urandom(size: int, /) -> bytes:
    if not inside() or size < 0:
        return _Real.urandom(size)
    return _active.stream("world/urandom").randbytes(size)  # type: ignore[union-attr]


def _seed(a: Any = None, version: int = 2) -> None:
    if a is None and inside():
        a = _active.random_seed()  # type: ignore[union-attr]
    _Real.seed(a, version)


def _seed_of_its_own(method: Callable[..., None]) -> Callable[..., None]:
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and inside():
            a = _active.random_seed()  # type: ignore[union-attr]
        method(self, a, version)

    return seed


_patching.replace(os.urandom, _urandom)
_patching.replace(random.seed, _seed)
_patching.override(random.Random, "seed", _seed_of_its_own)
if hasattr(os, "getrandom"):

    def _getrandom(size: int, flags: int = 0) -> bytes:
        return _urandom(size) if inside() else _Real.getrandom(size, flags)

    _patching.replace(_Real.getrandom, _getrandom)
