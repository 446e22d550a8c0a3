"""Tasks: what drives a coroutine.

Two kinds share one way of being driven. `Task` is an `asyncio.Task` to all who look at it; `LightTask`, which
`wfsim.kernel.spawn` makes, knows the same protocol without asyncio's Future underneath and is half as dear
to make. Both are resumed by the environment's run loop with `task._enter(task._send, None)`: no frame, no
handle and no future stands between the queue and the coroutine.

A coroutine may yield to the run loop: a float (sleep that many nanoseconds), None (let others run), `PARKED`
(somebody will put me back), an asyncio future, or a SimPy event.
"""

from __future__ import annotations

import asyncio
import math
import sys
import types
from asyncio import base_tasks, coroutines, futures
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from wfsim.kernel._environment import CURRENT_TASKS, PARKED, Deferred, Parked

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from wfsim.kernel._loop import VirtualLoop

_future_init = asyncio.Future.__init__
_future_set_result = asyncio.Future.set_result
_future_set_exception = asyncio.Future.set_exception
_future_cancel = asyncio.Future.cancel


_stock_sleep = asyncio.sleep

_UNCANCEL_CLEARS = sys.version_info >= (3, 13)


@types.coroutine
def sleep(seconds: float) -> Generator[Any, None, None]:
    """Wait `seconds`: virtual ones in a simulation, real ones on a plain asyncio loop.

    The wait is offered to whoever drives the task. The simulation takes a float; asyncio's own tasks refuse
    it with an error, and then get asyncio's sleep. Asking first which loop runs would cost every wait more
    than this costs the waits of production. Await it; a task is made of `asyncio.sleep`.
    """
    try:
        yield seconds * 1e9
    except RuntimeError as error:
        if str(error) != f"Task got bad yield: {seconds * 1e9!r}":
            raise
    else:
        return
    yield from _stock_sleep(seconds).__await__()


def _is_own_wait(given: object) -> bool:
    """Whether it is what `sleep` returned: to be awaited, but since Python 3.12 no coroutine to asyncio."""
    return isinstance(given, types.GeneratorType) and given.gi_code is sleep.__code__


@types.coroutine
def park() -> Generator[Parked, None, None]:
    """Wait until `wake`; set the task's `_waits` to what can forget it when it is cancelled."""
    yield PARKED


def wake(task: Driven) -> None:
    """Let a parked task go on."""
    task._waits = None
    task._loop._ready.append(task)


# What every step touches; all else has its default on the class, so that making a task stays cheap.
_HOT = ("_context", "_coro", "_enter", "_send", "_when")


class Driven:
    """How a coroutine is resumed, waits and is cancelled; the same for both kinds of task."""

    if not TYPE_CHECKING:
        __slots__ = ()

    if TYPE_CHECKING:
        _loop: VirtualLoop
        _coro: Coroutine[Any, Any, Any]
        _context: Context
        _enter: Callable[[Any, None], Any]
        _send: Callable[[Any], Any]
        _when: int

        _log_traceback: bool
        _source_traceback: list[Any]

        def done(self) -> bool: ...
        def cancelled(self) -> bool: ...
        def exception(self) -> BaseException | None: ...
        def result(self) -> Any: ...
        def add_done_callback(
            self, fn: Callable[[Any], object], *, context: Context | None = None
        ) -> None: ...
        def _finish(self, value: Any) -> None: ...
        def _fail(self, error: BaseException) -> None: ...

    _future: Any = None
    _waits: Any = None
    _must_cancel = False
    _interrupted = False
    _given_number: int | None = None
    _num_cancels_requested = 0
    _cancelled_exc: BaseException | None = None
    _cancel_message: Any = None
    _name: str | None = None
    _event: Event | None = None

    def __hash__(self) -> int:
        # By number and not by address: sets of tasks, which asyncio.wait makes, keep one order in every
        # process.
        return self._number

    @property
    def _number(self) -> int:
        """The task's number in its loop, given when it is first asked for."""
        number: int | None = self._given_number
        if number is None:
            number = self._given_number = self._loop._next_task_number()
        return number

    # -- asyncio.Task's interface

    def get_coro(self) -> Coroutine[Any, Any, Any]:
        """The coroutine that this task drives."""
        return self._coro

    def get_context(self) -> Context:
        """The context in which the coroutine runs."""
        return self._context

    def get_name(self) -> str:
        """The task's name; `Task-N` counts the tasks of the loop, so that it is the same in every run."""
        return f"Task-{self._number}" if self._name is None else self._name

    def set_name(self, value: object) -> None:
        """Name the task."""
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[types.FrameType]:
        """See `asyncio.Task.get_stack`."""
        return base_tasks._task_get_stack(self, limit)  # type: ignore[arg-type]

    def print_stack(self, *, limit: int | None = None, file: Any = None) -> None:
        """See `asyncio.Task.print_stack`."""
        base_tasks._task_print_stack(self, limit, file)  # type: ignore[arg-type]

    def set_result(self, _result: object) -> None:
        """A task's result is its coroutine's; see `asyncio.Task`."""
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, _exception: object) -> None:
        """A task's exception is its coroutine's; see `asyncio.Task`."""
        raise RuntimeError("Task does not support set_exception operation")

    def cancelling(self) -> int:
        """How many requests to cancel are pending."""
        return self._num_cancels_requested

    def uncancel(self) -> int:
        """Take one request to cancel back; the number of those left."""
        if self._num_cancels_requested > 0:
            self._num_cancels_requested -= 1
            if self._num_cancels_requested == 0 and _UNCANCEL_CLEARS and not self._interrupted:
                self._must_cancel = False
        return self._num_cancels_requested

    def cancel(self, msg: Any = None) -> bool:
        """Ask the coroutine to stop: CancelledError is raised at the place where it waits."""
        if self.done():
            self._log_traceback = False  # who cancels a failed task has no wish to hear of its error
            return False
        self._num_cancels_requested += 1
        waiter = self._future
        if waiter is not None and (waiter.cancel(msg=msg) or waiter.cancelled()):
            return True
        if self._interrupted:
            return True  # the first request is under way, with its own message
        self._must_cancel = True
        self._cancel_message = msg
        if self._leave_wait():
            self._interrupted = True
            self._loop._ready.append(self)
        elif CURRENT_TASKS.get(self._loop) is self:
            # It cancels itself: what it waits for next is not known yet.
            self._loop.call_soon(self._cancel_wait)
        self._send = self._cancel_into
        return True

    # -- being driven

    def _leave_wait(self) -> bool:
        """Give up a wait of the library's own; False when the task is not in one."""
        waits = self._waits
        if waits is not None:
            self._waits = None
            return bool(waits._forget(self))
        return self._loop.environment.remove(getattr(self, "_when", -1), self)

    def _cancel_wait(self) -> None:
        if self._must_cancel and self._leave_wait():
            self._loop._ready.append(self)

    def _cancel_into(self, _value: None) -> Any:
        self._send = self._coro.send
        self._interrupted = False
        self._future = None
        coro = self._coro
        if not self._must_cancel:
            return coro.send(None)
        self._must_cancel = False
        error = self._make_cancelled_error()
        self = None  # type: ignore[assignment]  # noqa: PLW0642  (an error's traceback leads to this frame)
        return coro.throw(error)

    def _throw(self, error: BaseException) -> None:
        """Raise `error` in the coroutine at its next step."""

        def throw(_value: None) -> Any:
            self._send = self._coro.send
            if self._must_cancel:
                self._must_cancel = False
                return self._coro.throw(self._make_cancelled_error())
            return self._coro.throw(error)

        self._send = throw
        self._loop._ready.append(self)

    def _make_cancelled_error(self) -> BaseException:
        """The CancelledError that ended this task, or a new one with the message of `cancel`."""
        if self._cancelled_exc is not None:
            error, self._cancelled_exc = self._cancelled_exc, None
            return error
        message = self._cancel_message
        return asyncio.CancelledError() if message is None else asyncio.CancelledError(message)

    def _advance(self) -> None:
        """One step outside of the hot loop."""
        try:
            wish = self._enter(self._send, None)
        except StopIteration as stop:
            self._finish(stop.value)
        except BaseException as error:  # noqa: BLE001  (the task keeps it)
            self._fail(error)
        else:
            self._yielded(wish)
        self = None  # type: ignore[assignment]  # noqa: PLW0642  (an error's traceback leads to this frame)

    def _yielded(self, wish: Any) -> None:
        """Do what the coroutine asked for, where the hot loop does not do it itself."""
        if wish is None:
            self._loop._ready.append(self)
        elif wish is PARKED:
            pass
        elif getattr(wish, "_asyncio_future_blocking", None) is not None:
            self._await_future(wish)
        elif wish.__class__ is float:
            self._sleep(wish)
        elif isinstance(wish, Event):
            self._await_event(wish)
        elif isinstance(wish, types.GeneratorType):
            self._throw(
                RuntimeError(
                    f"yield was used instead of yield from for generator in task {self!r} with {wish!r}"
                )
            )
        else:
            self._throw(RuntimeError(f"Task got bad yield: {wish!r}"))

    def _sleep(self, delay_ns: float) -> None:
        if not delay_ns > 0:
            if delay_ns != delay_ns:  # noqa: PLR0124  (a NaN)
                self._throw(ValueError("Invalid delay: NaN (not a number)"))
            else:
                self._loop._ready.append(self)
            return
        if delay_ns == math.inf:
            self._waits = _NEVER
            return
        environment = self._loop.environment
        self._when = when = environment.now_ns + max(1, round(delay_ns))
        if environment.runner is self._loop:
            environment.push(when, self)
        else:
            item = Deferred(self)
            self._waits = _DeferredSleep(when, item)
            environment.push(when, item)

    def _await_future(self, future: Any) -> None:
        if futures._get_loop(future) is not self._loop:  # type: ignore[attr-defined]
            self._throw(RuntimeError(f"Task {self!r} got Future {future!r} attached to a different loop"))
        elif not future._asyncio_future_blocking:
            self._throw(
                RuntimeError(f"yield was used instead of yield from in task {self!r} with {future!r}")
            )
        elif future is self:
            self._throw(RuntimeError(f"Task cannot await on itself: {self!r}"))
        else:
            future._asyncio_future_blocking = False
            future.add_done_callback(self._wakeup, context=self._context)
            self._future = future
            if self._must_cancel and future.cancel(msg=self._cancel_message):
                self._must_cancel = False

    def _wakeup(self, _future: Any) -> None:
        """Go on: the callback on the future that is awaited, known to `VirtualLoop.call_soon`."""
        if not self._must_cancel:
            self._send = self._resume
        self._loop._ready.append(self)

    def _resume(self, _value: None) -> Any:
        """Go on after a future, which until now could be seen to be what the task waits for."""
        self._future = None
        self._send = send = self._coro.send
        self = None  # type: ignore[assignment]  # noqa: PLW0642  (an error's traceback leads to this frame)
        return send(None)

    def _await_event(self, event: Event) -> None:
        if event.env is not self._loop.environment:
            self._throw(
                RuntimeError(f"Task {self!r} awaits {event!r}, which belongs to another simpy environment")
            )
        elif event.callbacks is None:
            self._loop._ready.append(self)
        else:
            self._waits = _EventWait(event)
            event.callbacks.append(self._event_happened)

    def _event_happened(self, event: Event) -> None:
        if not event._ok:
            event._defused = True
        wake(self)

    @property
    def _fut_waiter(self) -> Any:
        """What asyncio's tasks show under this private name, at which libraries such as anyio look.

        The future that is awaited, also when it is done and the task has not gone on yet; something that is
        not done while the task waits in a way of its own; None while it runs or is about to.
        """
        if self._future is not None:
            return self._future
        if self._waits is not None or self._loop.environment.holds(getattr(self, "_when", -1), self):
            return _NEVER
        return None

    # -- SimPy's view of a task: an event that happens when the task is done

    @property
    def _as_event(self) -> Event:
        if self._event is None:
            event = self._event = Event(self._loop.environment)
            event._defused = True
            self.add_done_callback(self._tell_event)
        return self._event

    def _tell_event(self, _task: Any) -> None:
        assert self._event is not None  # noqa: S101
        try:
            value = self.result()
        except BaseException as error:  # noqa: BLE001  (SimPy carries it on as a value)
            self._event.fail(error)  # type: ignore[arg-type]
        else:
            self._event.succeed(value)

    def __and__(self, other: Any) -> Event:
        both: Event = self._as_event & other
        return both

    def __or__(self, other: Any) -> Event:
        either: Event = self._as_event | other
        return either

    env = property(lambda self: self._loop.environment)
    callbacks = property(lambda self: self._as_event.callbacks)
    triggered = property(lambda self: self._as_event.triggered)
    processed = property(lambda self: self._as_event.processed)
    ok = property(lambda self: self._as_event.ok)
    value = property(lambda self: self._as_event.value)
    _ok = property(lambda self: self._as_event._ok)
    _value = property(lambda self: self._as_event._value)
    _defused = property(lambda _self: True, lambda _self, _value: None)


def _never_again(_send: object, _value: None) -> Any:
    return PARKED


class Task(Driven, asyncio.Task):  # type: ignore[type-arg]
    """An `asyncio.Task` that the environment drives; what `asyncio.create_task` makes in a simulation.

    The state, the result and the callbacks are those of asyncio's own Future; the stepping is ours.
    """

    __slots__ = _HOT

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        loop: VirtualLoop | None = None,
        name: object = None,
        context: Context | None = None,
        eager_start: bool = False,
    ) -> None:
        _future_init(self, loop=loop)
        if self._source_traceback:
            del self._source_traceback[-1]
        if not coroutines.iscoroutine(coro):
            self._log_destroy_pending = False
            hint = "; make a task of asyncio.sleep(...) instead" if _is_own_wait(coro) else ""
            raise TypeError(f"a coroutine was expected, got {coro!r}{hint}")
        self._begin(coro, copy_context() if context is None else context)
        if name is not None:
            self._name = str(name)
        if eager_start and self._loop.is_running():
            self._start_eagerly()
        else:
            self._loop._enlist(self)
            self._loop._ready.append(self)

    def _begin(self, coro: Coroutine[Any, Any, Any], context: Context) -> None:
        loop = self._loop
        self._coro = coro
        self._send = coro.send
        self._context = context
        self._enter = context.run
        self._given_number = loop._next_task_number()
        if loop.watchers:
            loop.watch(self)

    def _start_eagerly(self) -> None:
        loop = self._loop
        outer = CURRENT_TASKS.get(loop)
        CURRENT_TASKS[loop] = self
        asyncio.tasks._register_eager_task(self)  # type: ignore[attr-defined]
        try:
            self._advance()
        finally:
            asyncio.tasks._unregister_eager_task(self)  # type: ignore[attr-defined]
            if outer is None:
                CURRENT_TASKS.pop(loop, None)
            else:
                CURRENT_TASKS[loop] = outer
        if not self.done():
            loop._enlist(self)

    __hash__ = Driven.__hash__

    def __repr__(self) -> str:
        return base_tasks._task_repr(self)

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        if not self.done():
            raise RuntimeError("await wasn't used with future")
        return self.result()

    __iter__ = __await__

    def result(self) -> Any:
        """See `asyncio.Task.result`."""
        if self._cancelled_exc is not None:
            raise self._make_cancelled_error()
        return asyncio.Future.result(self)

    def exception(self) -> BaseException | None:
        """See `asyncio.Task.exception`."""
        if self._cancelled_exc is not None:
            raise self._make_cancelled_error()
        return asyncio.Future.exception(self)

    def _finish(self, value: Any) -> None:
        self._loop._tasks.pop(self._coro, None)
        self._enter = _never_again  # a watcher's wrapper refers back to the task
        if self._must_cancel:
            self._must_cancel = False
            _future_cancel(self, msg=self._cancel_message)
        elif self.done():
            self._complain()
        else:
            _future_set_result(self, value)

    def _fail(self, error: BaseException) -> None:
        self._loop._tasks.pop(self._coro, None)
        self._enter = _never_again  # a watcher's wrapper refers back to the task
        _forget_drivers(error)
        if isinstance(error, asyncio.CancelledError):
            self._cancelled_exc = error
            _future_cancel(self)
            return
        if self.done():
            self._complain()
        else:
            _future_set_exception(self, error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error

    def _complain(self) -> None:
        """Somebody set the result behind the coroutine's back."""
        error = asyncio.InvalidStateError(f"step(): already done: {self!r}")
        self._loop.call_exception_handler({"message": str(error), "exception": error, "task": self})


class Future(asyncio.Future):  # type: ignore[type-arg]
    """An asyncio future that hashes by number, so that sets of futures have one order in every process."""

    __slots__ = ("_number",)

    def __init__(self, *, loop: VirtualLoop) -> None:
        _future_init(self, loop=loop)
        if self._source_traceback:  # type: ignore[attr-defined]
            del self._source_traceback[-1]  # type: ignore[attr-defined]
        self._number = loop._next_future_number()

    def __hash__(self) -> int:
        return self._number


class LightTask(Driven):
    """A task without asyncio's Future underneath, for the library's own parts and for very many tasks.

    It can be awaited, cancelled, given to `asyncio.gather`, `wait` and `shield`, and asyncio code runs in
    it; only `isinstance(task, asyncio.Task)` is false. An error that nobody awaits ends the run: it is
    never lost.
    """

    __slots__ = (*_HOT, "__dict__", "__weakref__", "_callbacks", "_loop", "_must_cancel")

    # `spawn` fills these in, in its own frame: a model may start millions of tasks.
    _asyncio_future_blocking = False
    _cancelled = False
    _value_or_none: Any = None
    _exception: BaseException | None = None
    _callbacks: list[tuple[Callable[[Any], object], Context | None]] | None

    def __repr__(self) -> str:
        state = "pending" if not self.done() else "cancelled" if self._cancelled else "finished"
        return f"<LightTask {state} name={self.get_name()!r} coro={self._coro!r}>"

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    def get_loop(self) -> VirtualLoop:
        """The event loop that the task belongs to."""
        return self._loop

    def done(self) -> bool:
        """Whether the coroutine has ended."""
        return self._enter is None

    def cancelled(self) -> bool:
        """Whether the coroutine ended by being cancelled."""
        return self._cancelled

    def result(self) -> Any:
        """The coroutine's value.

        Raises:
            asyncio.InvalidStateError: the task is not done.
            BaseException: what the coroutine raised.
        """
        error = self.exception()
        if error is not None:
            raise error.with_traceback(error.__traceback__)
        return self._value_or_none

    def exception(self) -> BaseException | None:
        """What the coroutine raised, None if it returned; raises CancelledError if it was cancelled."""
        if self._cancelled:
            raise self._make_cancelled_error()
        if self._enter is not None:
            raise asyncio.InvalidStateError("Result is not set.")
        self._loop._unawaited.pop(self, None)
        return self._exception

    def add_done_callback(self, fn: Callable[[Any], object], *, context: Context | None = None) -> None:
        """See `asyncio.Future.add_done_callback`."""
        if self.done():
            self._loop.call_soon(fn, self, context=context)
        elif self._callbacks is None:
            self._callbacks = [(fn, context)]
        else:
            self._callbacks.append((fn, context))

    def remove_done_callback(self, fn: Callable[[Any], object]) -> int:
        """See `asyncio.Future.remove_done_callback`."""
        before = self._callbacks or []
        self._callbacks = [(one, context) for one, context in before if one != fn]
        return len(before) - len(self._callbacks)

    def _end(self) -> None:
        self._enter = None  # type: ignore[assignment]  # which says that the task is done
        del self._loop._tasks[self._coro]
        if self._callbacks:
            self._call_back()

    def _call_back(self) -> None:
        for fn, context in self._callbacks or ():
            self._loop.call_soon(fn, self, context=context)
        self._callbacks = None

    def _finish(self, value: Any) -> None:
        if value is not None:
            self._value_or_none = value
        if self._must_cancel:
            self._must_cancel, self._cancelled = False, True
        # As in _end, which most tasks are spared.
        self._enter = None  # type: ignore[assignment]
        del self._loop._tasks[self._coro]
        if self._callbacks:
            self._call_back()

    def _fail(self, error: BaseException) -> None:
        _forget_drivers(error)
        if isinstance(error, asyncio.CancelledError):
            self._cancelled, self._cancelled_exc = True, error
            self._end()
            return
        self._exception = error
        if self._callbacks is None:
            self._loop._unawaited[self] = error
        self._end()
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error


def _forget_drivers(error: BaseException) -> None:
    """Let a traceback begin in the task's own code, as with asyncio's tasks."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_DRIVERS):
        trace = trace.tb_next
    error.__traceback__ = trace


_DRIVERS = str(Path(__file__).parent)


class _Never:
    """The wait for nothing: it ends only by being cancelled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<a wait of the simulation>"

    def done(self) -> bool:
        return False

    def _forget(self, _task: Driven) -> bool:
        return True


_NEVER = _Never()


class _DeferredSleep:
    """The sleep of a task whose loop is not the one that drives the queue."""

    __slots__ = ("_item", "_when")

    def __init__(self, when: int, item: Deferred) -> None:
        self._when = when
        self._item = item

    def _forget(self, task: Driven) -> bool:
        return task._loop.environment.remove(self._when, self._item)


class _EventWait:
    """The wait of a task for a SimPy event."""

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event = event

    def _forget(self, task: Driven) -> bool:
        callbacks: Any = self._event.callbacks
        if callbacks is None or task._event_happened not in self._event.callbacks:
            return False
        self._event.callbacks.remove(task._event_happened)
        return True


def _await_simpy_event(self: Event) -> Generator[Event, None, Any]:
    """`await event` for any SimPy event: its value, or its error raised."""
    yield self
    if self._ok:
        return self._value
    raise self._value


Event.__await__ = _await_simpy_event  # type: ignore[attr-defined]
