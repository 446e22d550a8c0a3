"""Simulated threads: code that blocks, each in a greenlet of its own, all of them in the one real thread of the run.

Control passes from whoever switches a thread in (the hub, which runs the environment's queue; or a thread that starts
another) to the thread, and back when the thread waits or ends. Which threads wait for what is nobody's business here:
`Parker` is the one way to wait, locks and all else are built on it.
"""

from __future__ import annotations

import ctypes
from asyncio import _get_running_loop, _set_running_loop
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import getcurrent, greenlet

from wfsim.kernel._threadstate import NO_LOCALS, ThreadLocals, free

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from wfsim.kernel._environment import Environment, Timer

_FIRST_IDENT = 1 << 62  # no real thread has such an identifier


class SimThread:
    """A simulated thread, or the hub as one of them.

    Attributes:
        ident: what `threading.get_ident` answers in it; the same in every run.
        context: the context in which its code runs.
        daemon: whether the end of the run waits for it.
        alive: false when it has ended or crashed.
        sentinel: a lock that is released when it ends, for those who join it.
        timer: what will wake it, if anything.
        line: the line of waiters in which it stands, if any.
    """

    __slots__ = (
        "alive", "call", "carrier", "context", "daemon", "ident", "line", "locals", "parker", "place",
        "running_loop", "sentinel", "timer",
    )  # fmt: skip

    def __init__(self, ident: int, context: Context | None, call: Callable[[], object] | None, *, daemon: bool) -> None:
        self.ident = ident
        self.context = context
        self.call = call
        self.daemon = daemon
        self.alive = True
        self.carrier: Any = None
        self.place: Any = None  # the greenlet to go on with: the carrier, or one that the user's code made in it
        self.locals = NO_LOCALS
        self.running_loop: Any = None
        self.sentinel: Any = None
        self.timer: Timer | None = None
        self.parker: Parker | None = None
        self.line: deque[Parker] | None = None


class _Carrier(greenlet):
    """Carries one thread after the other: making a greenlet costs several times as much as switching to one."""

    thread: SimThread
    board: Switchboard

    def run(self) -> None:
        while True:
            thread = self.thread
            thread.call()  # type: ignore[misc]
            if not thread.alive:
                break
            self.board._end(thread)
            self.parent.switch()
        self.parent.switch()  # it crashed while it ran: nothing more is heard of it
