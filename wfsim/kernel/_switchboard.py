"""Simulated threads: code that blocks, each in a greenlet of its own, all in the one real thread of the run.

Control passes to a thread from the hub, the greenlet that runs the environment's queue, and comes back when
the thread waits or ends. `Parker` is the one way to wait; sleeping, locks and all else are built on it.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from asyncio import _get_running_loop, _set_running_loop
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from greenlet import getcurrent, greenlet

from wfsim.kernel._process import keep_for_ever
from wfsim.kernel._threadstate import KEYED, Locals, pointers

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.kernel._environment import Environment, Timer

FIRST_IDENT = 1 << 62  # no real thread has such an identifier

# Code that does so many things without waiting, at one instant and so many times over, waits for something.
_BUSY_ACTIONS = 20_000
_BUSY_TURNS = 10
_NUDGE_NS = 1_000_000

active: Switchboard | None = None


def here() -> Switchboard | None:
    """The switchboard of the simulation that runs in this real thread."""
    return active if active is not None and active.real_ident == get_ident() else None


class Job(Protocol):
    """What a thread does."""

    def run(self) -> None:
        """Do it; must not raise."""

    def name(self) -> str:
        """What to call a thread that does it."""

    def forget(self) -> None:
        """Let go of what belongs to the run: it will not be finished, and its frame stays for ever."""


class SimThread:
    """A simulated thread; the hub is one too.

    Attributes:
        ident: what `threading.get_ident` answers in it, the same in every run.
        job: what it does.
        context: the context in which it does it.
        daemon: whether the end of the run waits for it.
        alive: false when it has ended or crashed.
        place: the greenlet to go on with: the carrier, or one that code running in the carrier made.
        locals: its thread-locals; None for those of the real thread, which the hub has.
        sentinel: a lock that is held as long as it lives, for those who join it.
        timer: what will wake it at a time, if anything.
        parker: what it waits with, if it waits for somebody.
        interruption: an error that it raises when its wait is over.
        handlers: those of signals, by number, in the main thread of a program of its own (`as_program`).
    """

    alive = True
    handlers: dict[int, Any] | None = None
    carrier: Any = None
    place: Any = None
    locals: list[int] | None = None
    running_loop: Any = None
    sentinel: Any = None
    timer: Timer | None = None
    parker: Parker | None = None
    interruption: BaseException | type[BaseException] | None = None

    def __init__(self, ident: int, job: Job, context: Context, *, daemon: bool) -> None:
        self.ident = ident
        self.job = job
        self.context = context
        self.daemon = daemon

    def name(self) -> str:
        """What to call it as long as `threading` has no name for it."""
        return self.job.name()

    def forget(self) -> None:
        """Let go of the run: of a thread that has crashed this object stays for ever."""
        if self.carrier is not None:
            self.carrier.gr_context = None
        self.context, self.running_loop = Context(), None
        self.job.forget()


class _Carrier(greenlet):
    """Carries one thread after the other: making a greenlet costs ten times as much as switching to one."""

    board: Switchboard
    thread: Any
    locals: Locals

    def run(self) -> None:
        board = self.board
        while True:
            thread = self.thread
            thread.job.run()
            if not thread.alive:  # it crashed while it ran, and has only now come to its end
                board.vanish()
            board.end(thread)
            self.thread = thread = None  # and with it go the function and what it was given
            self.parent.switch()  # type: ignore[union-attr]  # it is no main greenlet


class Parker:
    """A place where a thread waits until somebody wakes it, or until a time."""

    __slots__ = ("_board", "_late", "_parked", "thing", "thread", "what")

    def __init__(self, board: Switchboard, what: str, thing: Any = None) -> None:
        self._board = board
        self._parked = False
        self._late = False
        self.what = what
        self.thing = thing
        self.thread = board.current

    def park(self, deadline_ns: int | None = None) -> bool:
        """Let others run until `wake` is called or the deadline has come; false if it was the deadline.

        Raises:
            Deadlock: this is the hub, and nothing is left that could wake it.
        """
        board = self._board
        thread = self.thread = board.current
        if not thread.alive:
            board.vanish()
        self._parked, self._late = True, False
        if thread is board.root:
            self._park_hub(deadline_ns)
            return not self._late
        # Nothing of the environment in this frame: if the thread crashes, the frame stays for ever.
        if deadline_ns is not None:
            thread.timer = board.environment.call_at(deadline_ns, self._expire)
        thread.parker = self
        board.leave(thread)
        if thread.timer is not None and not self._late:
            thread.timer.cancel()
        thread.timer = thread.parker = None
        return not self._late

    def _park_hub(self, deadline_ns: int | None) -> None:
        environment = self._board.environment
        timer = None if deadline_ns is None else environment.call_at(deadline_ns, self._expire)
        self._board.look()
        try:
            environment.run_blocked(lambda: not self._parked)
        finally:
            self._parked = False
            if timer is not None and not self._late:
                timer.cancel()

    def wake(self) -> None:
        """Let the thread go on, at this instant and after what is due already, if it waits."""
        if self._parked:
            self._parked = False
            if self.thread is not self._board.root:
                environment = self._board.environment
                environment.call_at(environment.now_ns, self._board.resume, self.thread)

    def forget(self) -> None:
        """Wake nobody any more."""
        self._parked = False

    def _expire(self) -> None:
        if self._parked:
            self._parked, self._late = False, True
            if self.thread is not self._board.root:
                self._board.resume(self.thread)


class Switchboard:
    """The simulated threads of one run, which of them runs, and who stands in line for what.

    Attributes:
        current: the thread whose code runs now.
        root: the hub as a thread: coroutines and callbacks run in it.
        threads: those that live, in the order in which they were started.
        lines: for each thing that somebody waits for, the waiters, first come first.
        locks: who holds a `Lock`.
        rlocks: who holds an `RLock`, and how many times.
        watchers: who waits for a real descriptor, and how to see whether it is ready.
        pools: the executors that the run uses.
        descriptors: the pipes and sockets that were made in the run.
        handlers: those of signals that the run has replaced.
        outside: the locks that real threads outside of the simulation took during the run.
        actions: how many times code has looked at a lock or a clock since it last took a breath.
        on_end: called with each thread that ends or crashes.
        on_crash: called before that with each thread that crashes.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.real_ident = get_ident()
        self.root = self.current = SimThread(self.real_ident, _Hub(), Context(), daemon=False)
        self.threads: dict[SimThread, None] = {}
        self.lines: dict[Any, deque[Parker]] = {}
        self.locks: dict[Any, SimThread] = {}
        self.rlocks: dict[Any, tuple[SimThread, int]] = {}
        self.outside: dict[Any, int] = {}
        self.watchers: dict[Parker, Callable[[], object]] = {}
        self.pools: Any = None
        self.descriptors: set[int] = set()
        self.handlers: dict[int, Any] = {}
        self.actions = 0
        self._busy_at = self._nudged_to = -1
        self._busy_turns = self._nudge_ns = 0
        self.on_end: list[Callable[[SimThread], object]] = []
        self.on_crash: list[Callable[[SimThread], object]] = []
        self._words = pointers()
        self._hub_words = self._words[:]
        self._idle: list[_Carrier] = []
        self._buried: list[SimThread] = []
        self._next_ident = FIRST_IDENT

    # -- starting and ending

    def start(
        self, job: Job, context: Context, *, daemon: bool = False, sentinel: Any = None, is_main: bool = False
    ) -> SimThread:
        """Do a job in a new thread; as the main thread it takes the identity and thread-locals of the real one.

        From the hub it runs at once, until it first waits; from another thread as soon as that one waits,
        because a greenlet begins as deep in the stack as the one that starts it.
        """
        if is_main:
            thread = SimThread(self.real_ident, job, context, daemon=daemon)
        else:
            self._next_ident = ident = self._next_ident + 1
            thread = SimThread(ident, job, context, daemon=daemon)
        self.threads[thread] = None
        if sentinel is not None:
            thread.sentinel, self.locks[sentinel] = sentinel, thread
        if self.current is self.root:
            self._begin(thread)
        else:
            self.environment.call_at(self.environment.now_ns, self._begin, thread)
        return thread

    def _begin(self, thread: SimThread) -> None:
        if thread.alive:
            carrier = self._idle.pop() if self._idle else self._new_carrier()
            carrier.gr_context = thread.context
            carrier.thread = thread
            thread.place = thread.carrier = carrier
            if thread.ident != self.real_ident:
                thread.locals = carrier.locals.pointers
            self._enter(thread)

    def _new_carrier(self) -> _Carrier:
        carrier = _Carrier()
        carrier.board, carrier.locals = self, Locals()
        return carrier

    def end(self, thread: SimThread) -> None:
        """A thread has come to its end."""
        thread.alive = False
        del self.threads[thread]
        self._idle.append(thread.carrier)
        thread.place = None
        for tell in self.on_end:
            tell(thread)

    def bury(self, thread: SimThread) -> None:
        """A thread has crashed: none of its code runs any more, no `finally` even when the interpreter ends.

        A thread that buries itself goes on until it next waits.
        """
        thread.alive = False
        del self.threads[thread]
        self._buried.append(thread)
        for kept in (thread, thread.carrier, thread.place):
            keep_for_ever(kept)  # of one that has not begun there is only the first
        if thread.timer is not None:
            thread.timer.cancel()
            thread.timer = None
        if thread.parker is not None:
            thread.parker.forget()
            self._leave_line(thread.parker)
        for tell in (*self.on_crash, *self.on_end):
            tell(thread)

    def close(self) -> None:
        """Bury what still lives, and let the carriers go."""
        for thread in list(self.threads):
            self.bury(thread)
        while self._idle:
            self._idle.pop().throw()

    def forget(self) -> None:
        """Let go of the run: what is buried keeps this object for ever, and it shall keep nothing else."""
        del self.environment, self.pools
        for thread in self._buried:
            thread.forget()
        for kept in (self.lines, self.locks, self.rlocks, self.outside, self.watchers):
            kept.clear()

    # -- switching

    def in_main_thread(self) -> bool:
        """Whether the current thread is the real one to all who ask: the hub, and a main function that blocks."""
        return self.current.ident == self.real_ident

    def resume(self, thread: SimThread) -> None:
        """Let a thread that waits go on."""
        if thread.alive:
            self._enter(thread)

    def _enter(self, thread: SimThread) -> None:
        words, own, carrier, hub = self._words, self._hub_words, thread.carrier, getcurrent()
        # asyncio keeps a pointer into the thread-locals, so: exchange those first, then set the running loop.
        running_loop = _get_running_loop()
        if thread.locals is not None:
            if KEYED:
                own = words[:]
            words[:] = thread.locals
        _set_running_loop(thread.running_loop)
        if thread.running_loop is not None:
            _watch_generators(thread.running_loop)
            thread.running_loop = None
        if carrier.parent is not hub:
            carrier.parent = hub
        self.current = thread
        try:
            thread.place.switch()
        finally:
            self.current = self.root
            self._come_back(thread, own, running_loop)
            if self.watchers:
                self.look()

    def _come_back(self, thread: SimThread, own: list[int], running_loop: Any) -> None:
        """Put back in place what is the hub's own, when a thread has left or ended."""
        if thread.place is not None:
            thread.running_loop = _get_running_loop()
            if thread.running_loop is not None:
                _watch_generators(running_loop)
        if thread.locals is not None:
            carrier, words = thread.carrier, self._words
            if KEYED:
                thread.locals = carrier.locals.pointers = words[:]
            words[:] = own
            if thread.place is None:
                carrier.locals = carrier.locals.unused()
        _set_running_loop(running_loop)

    def leave(self, thread: SimThread) -> None:
        """Go back to who switched the current thread in; return when it is resumed."""
        thread.place = getcurrent()
        thread.carrier.parent.switch()

    def vanish(self) -> None:
        """Leave the current thread, which has crashed, for ever."""
        keep_for_ever(getcurrent())
        while True:
            self.leave(self.current)

    # -- waiting

    def sleep(self, duration_ns: int) -> None:
        """Wait in the current thread."""
        thread = self.current
        deadline_ns = self.environment.now_ns + duration_ns
        if thread is self.root or not thread.alive:
            Parker(self, "time.sleep").park(deadline_ns)
            return
        thread.timer = self.environment.call_at(deadline_ns, self.resume, thread)
        self.leave(thread)
        thread.timer = None
        if thread.interruption is not None:
            self.be_interrupted()

    def interrupt(self, ident: int, error: BaseException | type[BaseException]) -> bool:
        """Let a thread raise an error when its wait is over, the current one at once; false if there is no such thread.

        As in CPython (`PyThreadState_SetAsyncExc`) a wait itself is not cut short.
        """
        thread = next((one for one in self.threads if one.ident == ident), None)
        if thread is None:
            return False
        thread.interruption = error
        if thread is self.current:
            self.be_interrupted()
        return True

    def be_interrupted(self) -> None:
        """Raise what the current thread was told to raise, if anything."""
        error, self.current.interruption = self.current.interruption, None
        if error is not None:
            raise error

    def act(self) -> None:
        """Note that code looks at a lock or a clock. Code that does nothing else waits for it to change.

        Real threads take turns whatever they do. Here a busy-waiting thread would hang the run, so after many
        actions others get a turn, and if that does not help, time passes, more of it each time.
        """
        self.actions += 1
        if self.actions >= _BUSY_ACTIONS:
            self.be_busy()

    def be_busy(self) -> None:
        """What comes of many actions."""
        self.actions, now_ns = 0, self.environment.now_ns
        if now_ns == self._nudged_to:
            self._nudge_ns *= 2
        elif now_ns != self._busy_at:
            self._busy_at, self._busy_turns, self._nudge_ns = now_ns, 0, 0
            return
        elif self._busy_turns < _BUSY_TURNS:
            self._busy_turns += 1
        else:
            self._nudge_ns = _NUDGE_NS
        self._nudged_to = now_ns + self._nudge_ns if self._nudge_ns else -1
        self.sleep(self._nudge_ns)

    def stand_in_line(self, thing: Any, what: str, deadline_ns: int | None = None) -> bool:
        """Wait until `next_in_line(thing)` names this thread; false if the deadline came first."""
        if not self.current.alive:
            self.vanish()
        parker = Parker(self, what, thing)
        self.lines.setdefault(thing, deque()).append(parker)
        try:
            return parker.park(deadline_ns)
        finally:
            self._leave_line(parker)

    def next_in_line(self, thing: Any) -> SimThread:
        """Wake the first of those who wait for `thing`, which is in `lines`, and return it."""
        parker = self.lines[thing][0]
        self._leave_line(parker)
        parker.wake()
        return parker.thread

    def _leave_line(self, parker: Parker) -> None:
        line = self.lines.get(parker.thing)
        if line and parker in line:
            line.remove(parker)
            if not line:
                del self.lines[parker.thing]

    def look(self) -> None:
        """Wake those whose descriptors are ready."""
        for parker, is_ready in list(self.watchers.items()):
            if is_ready():
                parker.wake()

    def deadline(self, timeout_s: float | None) -> int | None:
        """The time in nanoseconds at which a timeout that begins now is over."""
        if timeout_s is None or timeout_s < 0:
            return None
        return self.environment.now_ns + nanoseconds(timeout_s)


def _watch_generators(loop: Any) -> None:
    """Let async generators be known to the loop of who runs now; CPython keeps that once per real thread too."""
    # Loops of another kind look after none: that in which a Temporal workflow runs.
    hooks = [getattr(loop, f"_asyncgen_{name}_hook", None) for name in ("firstiter", "finalizer")]
    sys.set_asyncgen_hooks(*hooks)


def nanoseconds(seconds: float) -> int:
    """Seconds as whole nanoseconds; never zero for a wait that is not."""
    return max(1, round(seconds * 1_000_000_000)) if seconds > 0 else 0


class _Hub:
    """What the hub does: to run the queue. It is never started or buried."""

    def run(self) -> None:
        raise NotImplementedError

    def name(self) -> str:
        return "hub"

    def forget(self) -> None:
        raise NotImplementedError
