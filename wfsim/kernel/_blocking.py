"""The bridge to code that blocks: `time.sleep`, threads, locks, queues and executors wait in virtual time.

This is the door to six files: `_switchboard` (simulated threads and how they wait), `_threadstate` (their
thread-locals), `_locks`, `_threads`, `_selects` and `_signals` (what stands in for the standard library).
"""

from __future__ import annotations

import asyncio.futures
import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfsim.kernel import _libraries, _locks, _selects, _signals, _threads  # noqa: F401  (_selects declares stand-ins)
from wfsim.kernel import _switchboard as at
from wfsim.kernel._ambient import PROCESS
from wfsim.kernel._loop import EVENT_LOOP
from wfsim.kernel._switchboard import Parker, SimThread, Switchboard
from wfsim.kernel._waiting import Waiting, place, users_frame
from wfsim.kernel._world import active_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import FrameType
    from typing import Self

    from wfsim.kernel._environment import Environment
    from wfsim.kernel._loop import VirtualLoop

_KERNEL = str(Path(__file__).parent) + os.sep


class Bridge:
    """Runs code that blocks, as simulated threads. Enter it inside a `World`.

    Args:
        simulation: whose `environment` is the clock.
    """

    def __init__(self, simulation: Any) -> None:
        self._environment: Environment = simulation.environment
        self._board: Switchboard
        self._pools: _threads.Pools

    def __enter__(self) -> Self:
        self._board = board = Switchboard(self._environment)
        self._pools = board.pools = _threads.Pools()
        board.on_crash.append(partial(_locks.drop_locks, board))
        board.on_crash.append(_drop_call)
        board.on_end.append(_threads.sign_off)
        at.active = board
        world = active_world()
        if world is not None:
            world.on_look = board.act
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._board.close()
        finally:
            _signals.put_back(self._board)
            at.active = None  # from now on locks and queues are real ones again, also for what follows
            self._pools.give_back()
            self._board.forget()

    def in_thread(self) -> bool:
        """Whether this code runs in a simulated thread other than the hub."""
        return at.active is self._board and self._board.current is not self._board.root

    def in_main_thread(self) -> bool:
        """Whether this code runs in the hub, or in the main thread that is a simulated one."""
        return at.active is not self._board or self._board.in_main_thread()

    def may_handle_signals(self) -> bool:
        """Whether this code may set handlers of signals: it runs in a main thread, or in that of a program."""
        return self.in_main_thread() or self._board.current.handlers is not None

    def nudge(self) -> None:
        """Code does nothing but look: let others have a turn, and if that does not help, let time pass."""
        self._board.be_busy()

    def interrupt(self, ident: int, error: BaseException | type[BaseException]) -> bool:
        """`Switchboard.interrupt`."""
        return self._board.interrupt(ident, error)

    def be_interrupted(self) -> None:
        """`Switchboard.be_interrupted`."""
        self._board.be_interrupted()

    def parker(self, what: str) -> Parker:
        """A place for the current thread to wait in: `park()` there, `wake()` from anywhere in the run."""
        return Parker(self._board, what)

    def loop_at_hand(self) -> VirtualLoop | None:
        """The loop whose code runs now, if a function that it calls can begin at once in a simulated thread."""
        board, loop = self._board, self._environment.runner
        if board.current is board.root and loop is not None and loop._default_executor is None:
            return loop
        return None

    def begin(
        self, func: Callable[..., Any], args: tuple[Any, ...], context: Context, *, is_main: bool = False
    ) -> Call:
        """Call `func(*args)` in a new simulated thread, from the hub at once.

        A function that does not block has ended when this returns.
        """
        call = Call(func, args)
        thread = self._board.start(call, context, is_main=is_main)
        if not call.ended:
            call.thread = thread
        return call

    def call_blocking(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        loop: VirtualLoop,
        context: Context | None = None,
    ) -> asyncio.Future[Any]:
        """`begin`, if need be with a new thread's empty context; a future of `loop` that will have the value."""
        return self.begin(func, args, context or _threads.fresh_context()).awaited_in(loop)

    def crash(self, is_of: Callable[[Context], bool]) -> None:
        """Stop for ever all threads for whose context `is_of` is true; none of their code runs again.

        One that crashes itself goes on until it next waits.
        """
        for thread in [thread for thread in self._board.threads if is_of(thread.context)]:
            self._board.bury(thread)

    def finish(self) -> None:
        """Wait in virtual time for all threads that are no daemons, as the interpreter does at its exit.

        Raises:
            Deadlock: one of them waits for something that never happens.
        """
        self._pools.end()
        threads = self._board.threads
        self._environment.run_blocked(lambda: all(thread.daemon for thread in threads))

    def buried_frames(self) -> list[FrameType]:
        """The innermost frames of the threads that have crashed or were left behind, and are kept for ever."""
        places = [thread.place for thread in self._board._buried if thread.place is not None]
        return [place.gr_frame for place in places if place.gr_frame is not None]

    def waiting(self, names: dict[SimThread, str]) -> tuple[Waiting, ...]:
        """What every thread waits for now, in the order in which they were started.

        Args:
            names: what to call some of them.
        """
        threads = [thread for thread in self._board.threads if thread is not self._board.current]
        return tuple(_describe(thread, names.get(thread) or _name(thread)) for thread in threads)


class Call:
    """A call of a function in a thread, and where it blocks a future of an event loop for what becomes of it.

    Attributes:
        ended: whether the function has returned or raised.
        thread: in which it runs until then.
    """

    __slots__ = ("_args", "_error", "_func", "_future", "_loop", "_value", "ended", "thread")

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._func = func
        self._args = args
        self._loop: VirtualLoop | None = None
        self._future: asyncio.Future[Any] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self.ended = False
        self.thread: SimThread | None = None

    def run(self) -> None:
        try:
            self._value = self._func(*self._args)
        except StopIteration as error:  # a future cannot carry it
            self._error = RuntimeError("the function raised StopIteration")
            self._error.__cause__ = error
        except BaseException as error:  # noqa: BLE001  (it belongs to whoever awaits the future)
            # asyncio has exceptions of its own for those of concurrent.futures.
            self._error = asyncio.futures._convert_future_exc(error)  # type: ignore[attr-defined]
        if at.active.current.alive:  # type: ignore[union-attr]
            self.ended, self.thread = True, None
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._settle)
                self.over()

    def awaited_in(self, loop: VirtualLoop) -> asyncio.Future[Any]:
        """A future of `loop` that has, or will have, what becomes of the call."""
        self._future = future = loop.create_future()
        if self.ended:
            self._settle()
        elif self.thread is not None and self.thread.alive:
            self._loop = loop
            loop._calls[self] = None
        return future

    def result(self) -> Any:
        """What a call that has ended gave."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            del error  # breaks the cycle through the error's traceback

    def over(self) -> None:
        """Its thread has ended or crashed: the loop does not wait for it any more."""
        if self._loop is not None:
            self._loop._call_is_over(self)

    def _settle(self) -> None:
        future, error = self._future, self._error
        self._future = self._error = None
        if future is None or future.done():
            return
        if error is None:
            future.set_result(self._value)
        else:
            future.set_exception(error)

    def name(self) -> str:
        """The function's name, also behind the partial that `asyncio.to_thread` makes."""
        func: Any = self._func
        while isinstance(func, partial):
            func = func.args[0] if func.args and callable(func.args[0]) else func.func
        return f"{getattr(func, '__qualname__', type(func).__name__)}()"

    def forget(self) -> None:
        del self._func, self._args, self._value, self._error
        self._loop = self._future = self.thread = None


def _drop_call(thread: SimThread) -> None:
    if isinstance(thread.job, Call):
        thread.job.over()


# -- the listing of what waits


def _describe(thread: SimThread, name: str) -> Waiting:
    process = thread.context.get(PROCESS)
    frames = _frames(thread)
    users = users_frame(frames)
    own = _waits_for(thread)
    if users is None:  # a worker that waits for work: no code of the user's is involved
        where = place(frames[0]) if frames else "?"
    else:
        where = place(frames[users])
        if users and own != EVENT_LOOP:
            own = frames[users - 1].f_code.co_qualname
    return Waiting(name, "" if process is None else process.name, own, where)


def _waits_for(thread: SimThread) -> str:
    if thread.parker is not None:
        return thread.parker.what
    return "time.sleep" if thread.timer is not None else "its turn"


def _frames(thread: SimThread) -> list[FrameType]:
    """The frames of a thread that waits, innermost first, without the kernel's own."""
    frames, frame = [], thread.place.gr_frame if thread.place is not None else None
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_KERNEL):
            frames.append(frame)
        frame = frame.f_back
    return frames


def _name(thread: SimThread) -> str:
    known = threading._active.get(thread.ident)  # type: ignore[attr-defined]
    return thread.name() if known is None else str(known.name)
