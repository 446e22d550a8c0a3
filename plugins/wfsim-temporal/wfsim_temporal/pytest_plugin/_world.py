"""The world of one test: a simulation in a thread of its own, in which the test and its async fixtures run.

While a simulation runs, its thread lives in virtual time and every other thread in the real world. So pytest stays
outside, with its own clock and its synchronous fixtures, and hands over one coroutine after the other. In
between the simulation stands still: no virtual time passes.
"""

from __future__ import annotations

import asyncio
import threading
from _thread import LockType, allocate_lock
from asyncio.mixins import _LoopBoundMixin
from collections import deque
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wfsim.errors import SimulationError
from wfsim_temporal.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextvars import Context

    from wfsim_temporal.simulation import TemporalRun

# A simulation replaces the methods of locks for its thread; here both threads wait for each other for real.
_REAL: Final[dict[str, Any]] = {"acquire": LockType.acquire, "release": LockType.release}


class _Letterbox:
    """Holds one thing that a thread gives to another."""

    def __init__(self) -> None:
        self._full = allocate_lock()
        self._full.acquire()
        self._content: Any = None

    def put(self, content: Any) -> None:
        self._content = content
        _REAL["release"](self._full)

    def take(self) -> Any:
        _REAL["acquire"](self._full)
        content, self._content = self._content, None
        return content


class _Order(NamedTuple):
    """A coroutine to make and run, and the context variables of who wants it."""

    make: Callable[[], Awaitable[Any]]
    context: Context


class _Answer(NamedTuple):
    value: Any = None
    error: BaseException | None = None


class _Policies:
    """Gives pytest's side its own event loop policy while the simulation stands still.

    The policy is the process's, and the simulation has set its own. A synchronous fixture that makes a loop, or keeps
    the policy to restore it later (``event_loop`` of older releases of pytest-asyncio), means the real one.
    """

    def __init__(self) -> None:
        self._other: asyncio.AbstractEventLoopPolicy | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leave in the end what pytest's side had last."""
        self._other = asyncio.get_event_loop_policy()
        try:
            yield
        finally:
            asyncio.set_event_loop_policy(self._other)

    def swap(self) -> None:
        """Give way to the other side."""
        other, self._other = self._other, asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(other)


class TestWorld:
    """Runs coroutines of one test, one after the other, in one simulation.

    ``options`` are those of ``wfsim_temporal.simulate``; the simulation begins with the first coroutine.
    """

    __test__ = False

    def __init__(self, name: str, **options: Any) -> None:
        self._name = name
        self._options = options
        self._orders, self._answers = _Letterbox(), _Letterbox()
        self._thread: threading.Thread | None = None
        self._done: TemporalRun | BaseException | None = None
        self._seen: dict[ContextVar[Any], Any] = {}
        self._policies = _Policies()
        self._is_lost = False

    @property
    def is_over(self) -> bool:
        """Whether the simulation has ended: it was closed, or it came to nothing (a deadlock, say)."""
        return self._done is not None or self._is_lost

    def run(self, make: Callable[[], Awaitable[Any]]) -> Any:
        """Run ``make()`` to its end and give its value; raises what it raises, and what ends the simulation."""
        __tracebackhide__ = True
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "this runs inside the test's own event loop already: await it, or ask for it earlier"
            )
        self._begin()
        self._orders.put(_Order(make, copy_context()))
        answer = self._take()
        _raise(answer.error)
        return answer.value

    def close(self) -> None:
        """End the simulation. Raises what went wrong in it and was not told yet."""
        __tracebackhide__ = True
        if self._thread is None or self.is_over:
            return
        self._orders.put(None)
        _raise(self._take().error)

    def _take(self) -> _Answer:
        try:
            answer: _Answer = self._answers.take()
        except BaseException:
            self._is_lost = True  # interrupted: nobody waits for what still runs
            raise
        if self._done is not None and self._thread is not None:
            self._thread.join()
        return answer

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._live, name=f"simulation of {self._name}", daemon=True
            )
            self._thread.start()

    # -- in the simulation's thread

    def _live(self) -> None:
        async def serve() -> None:
            await self._serve()

        serve.__name__ = self._name
        try:
            with self._policies.kept(), _primitives_outlive_loops():
                self._done = done = simulate(serve, **self._options)
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits
            self._done = error
            self._answers.put(_Answer(error=error))
        else:
            self._answers.put(_Answer(error=done.error))

    async def _serve(self) -> None:
        self._policies.swap()
        while True:
            order = self._orders.take()
            self._policies.swap()
            if order is None:
                return
            self._adopt(order.context)
            try:
                answer = _Answer(value=await order.make())
            except asyncio.CancelledError:
                raise  # the simulation ends, and tells why
            except BaseException as error:  # noqa: BLE001 - belongs to the test
                answer = _Answer(error=error)
            await asyncio.sleep(
                0
            )  # tasks that a fixture has left behind begin, as in a loop that comes to its stop
            self._policies.swap()
            self._answers.put(answer)

    def _adopt(self, context: Context) -> None:
        """Set the context variables that changed outside since the last time."""
        for variable, value in context.items():
            if self._seen.get(variable, self) is not value:
                self._seen[variable] = value
                variable.set(value)


@contextmanager
def _primitives_outlive_loops() -> Iterator[None]:
    """Let an ``asyncio.Event`` or the like that a module keeps serve one test after the other.

    It belongs to the loop that it first waited in. Suites that share one loop rely on that; here each test has a
    loop of its own, and so that of an earlier test has to be forgotten.
    """
    real = _LoopBoundMixin._get_loop  # type: ignore[attr-defined]

    def get_loop(primitive: Any) -> Any:
        if primitive._loop is not None and _is_closed(primitive._loop):
            primitive._loop = None
            for name in ("_waiters", "_getters", "_putters"):
                (getattr(primitive, name, None) or deque()).clear()
        return real(primitive)

    _LoopBoundMixin._get_loop = get_loop  # type: ignore[attr-defined]
    try:
        yield
    finally:
        _LoopBoundMixin._get_loop = real  # type: ignore[attr-defined]


def _is_closed(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return loop.is_closed()
    except NotImplementedError:
        return False  # a workflow's own loop, which does not say


def _raise(error: BaseException | None) -> None:
    __tracebackhide__ = True
    if isinstance(error, SimulationError):
        # It tells what waits where; the frames are the kernel's own.
        raise error.with_traceback(None) from None
    if error is not None:
        raise error
