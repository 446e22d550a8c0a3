"""A pool: so many may be inside at once, the others wait in line."""

from __future__ import annotations

import asyncio
import types
from collections import deque
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import PARKED, LightTask, ambient_of_context, running_loop, running_task, wake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from types import TracebackType

_running_loop = asyncio._get_running_loop


@types.coroutine
def _nothing() -> Generator[Any, None, None]:
    yield from ()


# A wait that is over: `await` takes it, as often as it is asked to, without a frame and without an allocation.
_READY = _nothing()
next(_READY, None)


class _Promise:
    """Somebody in line whom the kernel does not drive, so a future has to wake it."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future


class Pool:
    """So many workers, connections or servers, each taken by one at a time: `async with pool:`.

    Who finds them all taken waits in line; first come, first served. It holds in a simulation and on a plain asyncio
    loop alike. A pool belongs to the run that uses it: the next run, with its own event loop, finds it empty. A process
    that crashes inside takes its place with it, as with any lock that has no lease.

    Args:
        size: how many may be inside at once.

    Raises:
        DesignError: `size` is not a whole number of 1 or more.
    """

    __slots__ = ("__weakref__", "_ambient", "_free", "_left", "_line", "_loop", "size")

    def __init__(self, size: int) -> None:
        given: object = size
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            raise DesignError(
                f"a Pool's size is how many may be inside at once, a whole number of 1 or more; it cannot be {size!r}"
            )
        self.size = size
        self._ambient: object = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._empty()

    def __repr__(self) -> str:
        return f"<Pool size={self.size} in_use={self.in_use} waiting={self.waiting}>"

    @property
    def in_use(self) -> int:
        """How many are inside, or have been called in."""
        return self.size - self._free

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def __aenter__(self) -> Awaitable[None]:
        # To ask which simulation runs is cheaper than to ask for the loop; where none runs the loop tells.
        if self._ambient is None or ambient_of_context() is not self._ambient:
            self._enter_run()
        if self._free:
            self._free -= 1
            return _READY
        return self._stand_in_line()

    def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> Awaitable[None]:
        line = self._line
        if not line:
            self._free += 1
        elif line[0].__class__ is LightTask:
            wake(line.popleft())
        else:
            self._call_next()
        return _READY

    # -- the line

    @types.coroutine
    def _stand_in_line(self) -> Generator[Any, None, None]:
        task: Any = running_task()
        if task._loop is not self._loop:
            self._move(task._loop)
        if not hasattr(task, "_waits"):
            yield from self._await_promise().__await__()
            return
        task._waits = self
        self._line.append(task)
        try:
            yield PARKED
        except BaseException:
            self._give_up(task)
            raise

    def _call_next(self) -> None:
        """Give the place that became free to the first in line."""
        line = self._line
        while line:
            first = line.popleft()
            if first.__class__ is not _Promise:
                wake(first)
                return
            if not first.future.done():
                first.future.set_result(None)
                return
        self._free += 1

    def _forget(self, task: LightTask) -> bool:
        """Say whether a task that is cancelled or crashes was still waiting in line."""
        self._line.remove(task)
        self._left.add(task)
        return True

    def _give_up(self, task: LightTask) -> None:
        """A wait ended with an error: cancelled in line, closed in line, or called in and then cancelled."""
        if task in self._left:
            self._left.remove(task)
        elif task in self._line:
            self._line.remove(task)
        else:
            self._call_next()

    async def _await_promise(self) -> None:
        promise = _Promise(asyncio.get_running_loop().create_future())
        self._line.append(promise)
        try:
            await promise.future
        except BaseException:
            if promise in self._line:
                self._line.remove(promise)
            elif not promise.future.cancelled():
                self._call_next()
            raise

    # -- which run it belongs to

    def _enter_run(self) -> None:
        self._ambient = ambient_of_context()
        loop = running_loop() or _running_loop()
        if loop is not self._loop:
            self._move(loop)

    def _move(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Begin anew in another event loop: what was inside in an earlier run may never have come out."""
        old = self._loop
        if old is not None and not old.is_closed() and (self.in_use or self._line):
            raise RuntimeError(
                f"{self!r} is in use in another event loop that still lives; give each loop a Pool of its own"
            )
        self._loop = loop
        self._empty()

    def _empty(self) -> None:
        self._free = self.size
        self._line: deque[Any] = deque()
        self._left: set[Any] = set()
