"""The event loop: asyncio's own, with the environment as its clock and nothing to wait for outside.

Source for the behaviour: the asyncio documentation and CPython's `asyncio.base_events`, whose
`BaseEventLoop` this is; CPython's own test modules for asyncio are run against it (tests/kernel/cpython).
"""

from __future__ import annotations

import asyncio
import math
import signal
import warnings
from asyncio import base_events, events, futures
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from itertools import count
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from greenlet import getcurrent, greenlet

from wfsim.errors import RealIOError
from wfsim.kernel._environment import CURRENT_TASKS, NOTHING, Environment
from wfsim.kernel._tasks import Driven, Future, LightTask, Task
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from wfsim.kernel._simulation import Simulation

_wakeup = Driven._wakeup
_eager_task_factory = getattr(asyncio, "eager_task_factory", None)


EVENT_LOOP = "its event loop"  # what a thread waits for that runs one; what its tasks wait for says more

# So many timers may be due at once at one instant before the clock is moved for them.
_NUDGES_FREE = 100

_MANY_LOOKS = 10_000

Enter = Callable[[Any, None], Any]
Watcher = Callable[[Driven, Enter], Enter]


class Handle(events.Handle):
    """A callback in the ready queue."""

    if TYPE_CHECKING:
        _loop: VirtualLoop
        _source_traceback: list[Any] | None

    __slots__ = ()
    _send = None

    def _enter(self, _send: None, _value: None) -> None:
        loop = self._loop
        CURRENT_TASKS.pop(loop, None)
        if self._cancelled:
            return
        if loop._debug:
            loop._run_timed(self)
        else:
            self._run()
        self = None  # type: ignore[assignment]  # noqa: PLW0642  (breaks the cycle through an error's traceback)

    def _fail(self, error: BaseException) -> None:
        raise error


class TimerHandle(events.TimerHandle):
    """A callback at an instant."""

    if TYPE_CHECKING:
        _loop: VirtualLoop
        _source_traceback: list[Any] | None
        _when_ns: int

    __slots__ = ("_when_ns",)
    _send = None
    _fail = Handle._fail

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: VirtualLoop,
        context: Context | None,
    ) -> None:
        if loop._debug:
            super().__init__(when, callback, args, loop, context)
            del self._source_traceback[-1:]  # type: ignore[union-attr]  # it begins where asyncio's would
            return
        # What asyncio does in two calls and four lookups: code that waits makes one of these each time.
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback, self._args = callback, args
        self._cancelled = self._scheduled = False
        self._repr = self._source_traceback = None
        self._when = when

    def _enter(self, _send: None, _value: None) -> None:
        loop = self._loop
        if not loop.is_awake():
            loop._ready.append(self)
            return
        self._scheduled = False
        CURRENT_TASKS.pop(loop, None)
        if loop._debug:
            Handle._enter(self, None, None)  # type: ignore[arg-type]
        elif not self._cancelled:
            self._run()
        self = None  # type: ignore[assignment]  # noqa: PLW0642


class _WakingQueue(deque[Any]):
    """The ready queue of a loop that runs in a simulated thread: what comes in wakes the thread."""

    def __init__(self, items: deque[Any], wake: Callable[[], None]) -> None:
        super().__init__(items)
        self._wake = wake

    def append(self, item: Any) -> None:
        super().append(item)
        self._wake()


class VirtualLoop(base_events.BaseEventLoop):
    """An asyncio event loop in virtual time.

    Args:
        environment: the clock and queue to live in; several loops may share one. A new one when left out.
        simulation: whose loop this is. Without one `run_in_executor` runs its function inline.
    """

    if TYPE_CHECKING:  # what BaseEventLoop has and typeshed does not show
        _debug: bool
        _stopping: bool
        _thread_id: int | None
        _task_factory: Any
        _default_executor: Any

        def _check_closed(self) -> None: ...
        def _check_thread(self) -> None: ...
        def _check_callback(self, callback: object, method: str) -> None: ...
        def _check_default_executor(self) -> None: ...

    def __init__(self, environment: Environment | None = None, simulation: Simulation | None = None) -> None:
        self.environment = Environment() if environment is None else environment
        self._looks, self._holds_breath = 0, False
        super().__init__()
        self.watchers: tuple[Watcher, ...] = ()
        self.simulation = simulation
        self._bridge = None if simulation is None else simulation.bridge
        self._generator_owner: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._ready: deque[Any] = deque()
        self._tasks: dict[Any, Driven] = {}  # by coroutine, which hashes fast; in the order they were made
        self._calls: dict[Any, None] = {}  # those of the default executor whose threads have not ended
        self._calls_over: asyncio.Future[None] | None = None
        self._unawaited: dict[LightTask, BaseException] = {}
        self._next_task_number = count(1).__next__
        self._next_future_number = count(1).__next__
        self.buried: list[Driven] = []  # tasks that have crashed
        self._on_signal: dict[tuple[Any, int], Handle] = {}  # by process and number
        self._awake = False
        self._home: greenlet | None = (
            None  # the simulated thread that runs it, if it is not the hub that does
        )
        self._nudged_at, self._nudges, self._nudge_ns = -1, 0, 1
        self._clock_resolution = 1 / NS_PER_SECOND

    def __repr__(self) -> str:
        return f"<VirtualLoop running={self.is_running()} closed={self.is_closed()} time={self.time()}>"

    def watch(self, task: Driven) -> None:
        """Let each watcher wrap the way in which a new task is resumed."""
        for watcher in self.watchers:
            task._enter = watcher(task, task._enter)

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001  (asyncio's signature)
        """See asyncio."""
        super().set_debug(enabled)
        others = tuple(one for one in getattr(self, "watchers", ()) if one is not _complain_of_slow_steps)
        self.watchers = (*others, _complain_of_slow_steps) if enabled else others

    def is_awake(self) -> bool:
        """Whether the loop runs its callbacks here and now: it is driven, and its thread does not block."""
        return self._awake and (self._home is None or self._home is getcurrent())

    # -- time

    def time(self) -> float:
        """Virtual seconds since the run's start."""
        self._looks += 1
        if self._looks >= _MANY_LOOKS:
            self._looked_often()
        return self.environment._now / NS_PER_SECOND

    def _looked_often(self) -> None:
        """Let others run and in the end time pass, if code does nothing but look at the clock.

        Thousands of tasks may each look at one instant. Only who looks so often and keeps the loop from what
        comes next waits for the time to change.
        """
        self._looks = 0
        if self._thread_id is not None and not self._holds_breath:
            self._holds_breath = True
            self._ready.appendleft(Handle(self._breathe, (), self, None))
        elif self._bridge is not None:
            self._bridge.nudge()

    def _breathe(self) -> None:
        self._holds_breath = False

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """See asyncio. `when` is rounded to nanoseconds; a time to come is never rounded to now."""
        if when is None:
            raise TypeError("when cannot be None")
        if when == math.inf:
            return TimerHandle(when, callback, args, self, context)
        now = self.environment._now
        when_ns = round(when * NS_PER_SECOND)
        if when_ns <= now:
            when_ns = self._nudged(when_ns, when)
        return self._call_at_ns(when_ns, when, callback, args, context)

    def _nudged(self, when_ns: int, when: float) -> int:
        """A time that is due at once, unless code asks for such again and again at one instant.

        It computes times that floats cannot tell from now (`time() + 1e-15`), and a real clock would have
        moved between two readings: so let it move, by ever larger steps.
        """
        now = self.environment._now
        if when > now / NS_PER_SECOND:
            return now + 1
        if now != self._nudged_at:
            # A storm that goes on where the last nudge led wants a larger one; any other begins anew.
            self._nudge_ns = 2 * self._nudge_ns if now == self._nudged_at + self._nudge_ns else 1
            self._nudged_at, self._nudges = now, 0
        self._nudges += 1
        return when_ns if self._nudges <= _NUDGES_FREE else now + self._nudge_ns

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.TimerHandle:
        """See asyncio. A positive delay is at least a nanosecond."""
        if delay is None:
            raise TypeError("delay must not be None")
        if delay == math.inf:
            return TimerHandle(delay, callback, args, self, context)
        now = self.environment._now
        delay_ns = round(delay * NS_PER_SECOND)
        when_ns = now + (max(1, delay_ns) if delay > 0 else delay_ns)
        return self._call_at_ns(when_ns, now / NS_PER_SECOND + delay, callback, args, context)

    def _call_at_ns(
        self,
        when_ns: int,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> events.TimerHandle:
        self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_at")
        timer = TimerHandle(when, callback, args, self, context)
        if timer._source_traceback:
            del timer._source_traceback[-2:]
        timer._when_ns = when_ns
        timer._scheduled = True
        self.environment.push(when_ns, timer)
        return timer

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        self.environment.remove(getattr(handle, "_when_ns", -1), handle)

    # -- callbacks and tasks

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """See asyncio."""
        if callback.__class__ is MethodType and callback.__func__ is _wakeup:
            callback(*args)
            return None  # type: ignore[return-value]  # nobody looks: a future made this call
        self._check_closed()
        if self._debug:
            self._check_thread()
            self._check_callback(callback, "call_soon")
        handle = Handle(callback, args, self, context)
        if handle._source_traceback:
            del handle._source_traceback[-1]
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        """See asyncio; from a simulated thread the callback runs at this virtual instant."""
        self._check_closed()
        if self._debug:
            self._check_callback(callback, "call_soon_threadsafe")
        handle = Handle(callback, args, self, context)
        if handle._source_traceback:
            del handle._source_traceback[-1]
        self._ready.append(handle)
        return handle

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """See asyncio."""
        self._check_closed()
        factory = self._task_factory
        if factory is None:
            return Task(coro, loop=self, name=name, context=context, **options)
        if factory is _eager_task_factory:
            return Task(coro, loop=self, name=name, context=context, **{"eager_start": True, **options})
        if context is not None:
            options["context"] = context
        return super().create_task(coro, name=name, **options)

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return Future(loop=self)

    def _enlist(self, task: Driven) -> None:
        if self.simulation is None:
            task._log_destroy_pending = True  # type: ignore[attr-defined]
            asyncio.tasks._register_task(task)  # type: ignore[arg-type]
        else:
            # A strong reference: in a simulation the garbage collector must not decide that a task ends.
            self._tasks[task._coro] = task

    def _run_timed(self, handle: Handle) -> None:
        """Debug mode's complaint about a callback that blocks, in virtual time."""
        start = self.time()
        handle._run()
        took = self.time() - start
        if took >= self.slow_callback_duration:
            text = base_events._format_handle(handle)  # type: ignore[attr-defined]
            base_events.logger.warning("Executing %s took %.3f seconds", text, took)  # type: ignore[attr-defined]
        handle = None  # type: ignore[assignment]  # breaks the cycle through an error's traceback

    # -- running

    def come_to_nothing(self) -> None:
        """A run ends that came to nothing: that its tasks are cancelled now is no news."""
        tell = self.call_exception_handler

        def tell_news(context: dict[str, Any]) -> None:
            if not isinstance(context.get("exception"), asyncio.CancelledError):
                tell(context)

        self.call_exception_handler = tell_news  # type: ignore[method-assign]

    def stop(self) -> None:
        """See asyncio."""
        if not self._stopping:
            self._stopping = self.environment.attention = True
            self._ready.append(NOTHING)

    def _run_once(self) -> None:
        """Run until stopped; a single iteration if nobody runs the loop, as callers of this name expect."""
        if self._thread_id is None:
            self.call_soon(self.stop)
            try:
                self._drive()
            finally:
                self._stopping = False
        else:
            self._drive()

    def _drive(self) -> None:
        try:
            if self._bridge is not None and self._bridge.in_thread():
                self._drive_in_thread()
            else:
                self.environment.drive(self)
        finally:
            if NOTHING in self._ready:
                self._ready.remove(NOTHING)

    def _drive_in_thread(self) -> None:
        """Run in a simulated thread, beside the loop that drives the environment."""
        assert self._bridge is not None  # noqa: S101
        parker = self._bridge.parker(EVENT_LOOP)
        own = self._ready = _WakingQueue(self._ready, parker.wake)
        self._home = getcurrent()
        try:
            while True:
                self._awake = True
                own.extend(self.environment.claim(self))
                self.environment._count(len(own))
                self.environment._check_steps()
                for _ in range(len(own)):
                    self._step(own.popleft())
                self._awake = False
                if self._stopping:
                    return
                if own and self._others_want_a_turn():
                    parker.park(self.environment._now)
                while not own:
                    parker.park()
        finally:
            self._awake, self._home = False, None
            self._ready = deque(own)

    def _others_want_a_turn(self) -> bool:
        """Whether something else is due at this instant: a loop that goes round and round must not starve it."""
        environment = self.environment
        return environment._queue[0] <= environment._now or bool(
            environment.runner and environment.runner._ready
        )

    def _step(self, item: Any) -> None:
        if isinstance(item, Driven):
            CURRENT_TASKS[self] = item
            try:
                item._advance()
            finally:
                CURRENT_TASKS.pop(self, None)
        else:
            item._enter(None, None)
        item = None  # breaks the cycle through an error's traceback

    def close(self) -> None:
        """See asyncio; timers that are left are dropped."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if not self.is_closed():
            self.environment.forget(self)
            self._tasks.clear()
            self._on_signal.clear()
            if self.simulation is not None and not self.buried and self in self.simulation.loops:
                self.simulation.loops.remove(self)
        super().close()

    def detach(self, stopped: Environment) -> None:
        """Let go of a simulation that has ended; its time is that of `stopped` from now on."""
        self.environment, self.simulation, self._bridge = stopped, None, None
        self.watchers = ()
        self.buried.clear()

    def _process_events(self, _event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _asyncgen_firstiter_hook(self, agen: Any) -> None:
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]
        self._generator_owner[agen] = _owner()

    # -- blocking code

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """See asyncio. Without an executor of its own the function starts at once, as a simulated thread."""
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            self._check_default_executor()
            executor = self._default_executor
        if executor is not None:
            return futures.wrap_future(executor.submit(func, *args), loop=self)
        return self._run_inline(func, args)

    def _run_inline(self, func: Callable[..., Any], args: tuple[Any, ...]) -> asyncio.Future[Any]:
        if self._bridge is not None:
            func, context = _out_of_context(func)
            return self._bridge.call_blocking(func, args, self, context)
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (it belongs to who awaits the future)
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """See asyncio."""
        self._executor_shutdown_called = True
        if self._default_executor is not None:
            self._run_inline(self._default_executor.shutdown, ())
        if self._calls:
            # Not the calls' futures: one that was cancelled is done, and its thread goes on.
            self._calls_over = self.create_future()
            await asyncio.wait([self._calls_over], timeout=timeout)
        if self._calls:
            text = f"The executor did not finishing joining its threads within {timeout} seconds."
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _call_is_over(self, call: object) -> None:
        self._calls.pop(call, None)
        if self._calls_over is not None and not self._calls and not self.is_closed():
            self.call_soon_threadsafe(self._tell_that_calls_are_over, self._calls_over)
            self._calls_over = None

    def _tell_that_calls_are_over(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)

    # -- the outside world

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """See asyncio. Only a signal that the same simulated process sends to itself arrives (`_signals`)."""
        self._check_closed()
        if self._bridge is None:
            return  # no simulation, no signals
        if asyncio.iscoroutinefunction(callback) or asyncio.iscoroutine(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        _check_signal(sig)
        if not self._bridge.may_handle_signals():
            raise RuntimeError("add_signal_handler() works in the main thread only")
        if sig in _UNCATCHABLE:
            msg = f"sig {sig} cannot be caught"
            raise RuntimeError(msg)
        self._on_signal[_owner(), sig] = Handle(callback, args, self, None)

    def remove_signal_handler(self, sig: int) -> bool:
        """See asyncio: whether there was one, of the process that asks."""
        _check_signal(sig)
        return self._on_signal.pop((_owner(), sig), None) is not None

    def receive_signal(self, sig: int, process: Any) -> bool:
        """Call the handler that `process` has for the signal at this instant; whether there is one."""
        handle = self._on_signal.get((process, sig))
        if handle is not None:
            self._ready.append(handle)
        return handle is not None


def _check_signal(sig: object) -> None:
    if not isinstance(sig, int):
        msg = f"sig must be an int, not {sig!r}"
        raise TypeError(msg)
    if sig not in signal.valid_signals():
        msg = f"invalid signal number {sig}"
        raise ValueError(msg)


_UNCATCHABLE = [getattr(signal, name) for name in ("SIGKILL", "SIGSTOP") if hasattr(signal, name)]


def _out_of_context(func: Any) -> tuple[Callable[..., Any], Context | None]:
    """What `asyncio.to_thread` wraps in `Context.run`, and that context: the thread runs in it from the start."""
    if type(func) is partial:
        context = getattr(func.func, "__self__", None)
        if type(context) is Context and func.func == context.run:
            wrapped, *args = func.args
            return partial(wrapped, *args, **func.keywords), context
    return func, None


def _owner() -> Any:
    from wfsim.kernel._ambient import PROCESS

    return PROCESS.get(None)


def _complain_of_slow_steps(task: Driven, enter: Enter) -> Enter:
    """Debug mode's watcher of tasks: what `_run_timed` is for callbacks."""
    loop = task._loop
    reference = ref(task)  # the traceback of an error leads here, and must not keep the task alive

    def timed(send: Any, _value: None) -> Any:
        start = loop.time()
        try:
            return enter(send, None)
        finally:
            send = None  # it may be a method of the task
            took = loop.time() - start
            if took >= loop.slow_callback_duration:
                base_events.logger.warning("Executing %r took %.3f seconds", reference(), took)  # type: ignore[attr-defined]

    return timed


_OUTSIDE = [
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
]


def _refuse(name: str) -> Callable[..., Any]:
    def refused(_self: VirtualLoop, *_args: Any, **_kwargs: Any) -> Any:
        msg = (
            f"loop.{name}() is real I/O, which a simulation cannot wait for. Put the call behind a function "
            "that the test replaces by a fake (its latency: asyncio.sleep), or make the service a simulated "
            "process."
        )
        raise RealIOError(msg)

    refused.__name__ = name
    refused.__doc__ = "Refused: real I/O."
    return refused


for _name in _OUTSIDE:
    setattr(VirtualLoop, _name, _refuse(_name))


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes virtual loops for `asyncio.run`, `asyncio.Runner` and `asyncio.new_event_loop`."""

    def __init__(self, make_loop: Callable[[], VirtualLoop]) -> None:
        super().__init__()
        self._make_loop = make_loop

    def new_event_loop(self) -> VirtualLoop:
        """A virtual loop in the simulation's environment."""
        return self._make_loop()
