"""Signals inside a run: those that its code sends to itself arrive in virtual time, and no others are sent.

`signal.raise_signal(number)` and `os.kill(os.getpid(), number)` mean the simulated process that calls them:
a handler that it gave to `loop.add_signal_handler` is called by its loop at this virtual instant, and other
processes hear nothing. Where no loop has a handler, one that was set by `signal.signal` is called at once, as
CPython does. What would end the interpreter or reach a real process is refused, and so are timers and waits of
the real world (`signal.alarm`, `signal.pause` and their kin). Where a run plays whole programs, each in a thread, that
thread is its program's main thread (`as_program`): handlers that it sets are its own.

Signals from outside, such as that of Ctrl-C, do not reach a loop's handlers: they belong to whoever runs the
simulation. Handlers that a run sets by `signal.signal` are in force until it ends.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wfsim.errors import RealIOError
from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at
from wfsim.kernel._ambient import PROCESS, current

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wfsim.kernel._loop import VirtualLoop
    from wfsim.kernel._switchboard import Switchboard


class _Real:
    """The originals, where the search for references to them does not look."""

    kill: Any = staticmethod(os.kill)
    raise_signal: Any = staticmethod(signal.raise_signal)
    signal: Any = staticmethod(signal.signal)


# Their default is to do nothing, or nothing that ends the interpreter.
_HARMLESS = [
    getattr(signal, name) for name in ("SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH") if hasattr(signal, name)
]


def put_back(board: Switchboard) -> None:
    """Undo what the run has set by `signal.signal`, also where a crash has kept its code from doing so."""
    for number, handler in board.handlers.items():
        if signal.getsignal(number) is not handler:
            _Real.signal(number, handler)


def _signal(signalnum: Any, handler: Any) -> Any:
    board = at.here()
    if board is None:
        return _Real.signal(signalnum, handler)
    own = board.current.handlers
    if own is not None:
        return _exchange(own, signalnum, handler)
    if not board.in_main_thread():
        raise ValueError("signal only works in main thread of the main interpreter")
    before = _Real.signal(signalnum, handler)
    if before is not None:  # one that C code has set cannot be set again
        board.handlers.setdefault(int(signalnum), before)
    return before


def _exchange(own: dict[int, Any], number: Any, handler: Any) -> Any:
    if not callable(handler) and handler not in {signal.SIG_IGN, signal.SIG_DFL}:
        raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
    before = own.get(number, signal.getsignal(number))
    own[int(number)] = handler
    return before


@contextmanager
def as_program() -> Iterator[None]:
    """Let this simulated thread be the main thread of a program: it may set handlers of signals."""
    board = at.here()
    if board is None or board.in_main_thread():
        yield
        return
    thread = board.current
    thread.handlers = {}
    try:
        yield
    finally:
        thread.handlers = None


def _raise_signal(signalnum: Any, /) -> None:
    if at.here() is None or not _to_a_loop(signalnum):
        _Real.raise_signal(signalnum)


def _kill(pid: int, sig: int, /) -> None:
    if at.here() is None or sig == 0:  # zero only asks whether there is such a process
        _Real.kill(pid, sig)
    elif pid != os.getpid():
        raise RealIOError(
            f"os.kill({pid}, {sig!r}) sends a real signal to a real process. Let the service be a simulated "
            "process (start_process) and stop it by `await crash(name)`, or by an event that it waits for."
        )
    elif not _to_a_loop(sig):
        _Real.kill(pid, sig)


def _to_a_loop(number: int) -> bool:
    """Hand a signal to a loop that has a handler of the process that sends it; false if there is none."""
    simulation = current()
    process = PROCESS.get(None)
    loops: Iterable[VirtualLoop] = (
        () if simulation is None else reversed(simulation.loops)
    )  # who came last has the say
    if any(loop.receive_signal(number, process) for loop in loops):
        return True
    own = at.active.current.handlers if at.active is not None else None
    if own is not None and number in own and own[number] is not signal.SIG_DFL:
        if callable(own[number]):
            own[number](number, None)
        return True
    if signal.getsignal(number) is signal.SIG_DFL and number not in _HARMLESS:
        raise RealIOError(
            f"{signal.Signals(number).name} would end the interpreter that runs the simulation, for nobody "
            "handles it. Give it a handler (loop.add_signal_handler or signal.signal), or mean the simulated "
            "process alone: await crash(name)."
        )
    return False


# What asks the real world for a signal, or waits until one comes from there.
_OF_THE_REAL_WORLD = ("alarm", "setitimer", "pause", "sigwait", "sigwaitinfo", "sigtimedwait")


def _refusing(name: str, original: Any) -> Any:
    def refused(*args: Any) -> Any:
        if at.here() is not None:
            raise RealIOError(
                f"signal.{name}() goes by the real clock or waits for the real world. In virtual time there are "
                "asyncio.timeout, loop.call_later and threading.Timer; a signal that the simulation sends itself "
                "(signal.raise_signal) arrives at loop.add_signal_handler."
            )
        return original(*args)

    return refused


for _name in _OF_THE_REAL_WORLD:
    if _original := getattr(signal, _name, None):
        _patching.replace(_original, _refusing(_name, _original))
_patching.replace(_Real.signal, _signal)
_patching.replace(_Real.raise_signal, _raise_signal)
_patching.replace(_Real.kill, _kill)
