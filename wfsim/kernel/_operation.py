"""Operations: what a design does, written to the history and offered to the nemesis.

`perform` is the one way in which a primitive calls a user's function: it records, passes the two fault
points that every call has ("call", before it; "reply", after the effect and before the caller knows), and
names what led to what. Outside a simulation all of this does nothing.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from inspect import isawaitable, iscoroutinefunction
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from wfsim.errors import ReplyLost
from wfsim.history import WIDTH, describe_error, plain_data
from wfsim.kernel._ambient import current, process_name
from wfsim.kernel._tasks import sleep
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping
    from types import TracebackType

    from wfsim.kernel._simulation import Simulation

# After these nobody knows whether the effect happened; of a lost reply the nemesis knows that it did.
_UNKNOWN = (asyncio.CancelledError, TimeoutError)
_MANY = 10_000
_PARENT: ContextVar[int | None] = ContextVar("wfsim_parent", default=None)


class FaultPoint(NamedTuple):
    """A place where a fault may strike: "call" or "reply" of an operation, or one that the user named."""

    point: str
    kind: str
    design: str
    name: str
    attempt: int
    process: str
    time_ns: int


class Fault(Protocol):
    """A kind of fault. The kernel records it, then lets it strike."""

    @property
    def kind(self) -> str:
        """The fault's word in scenario files and in the history: "fail", "delay", ..."""

    def describe(self) -> Mapping[str, Any]:
        """The fault as data, for the history."""

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:
        """Do it: raise, wait, crash; return to let the operation go on."""


class Nemesis(Protocol):
    """Who decides which fault strikes where."""

    def watches(self, name: str) -> Collection[str]:
        """The points of the operations of this name at which a fault could strike: all others pass unasked."""

    def ask(self, at: FaultPoint) -> Fault | None:
        """The fault that strikes at this point now, None to let it pass."""

    def heal(self) -> None:
        """Stop: no fault strikes from now on."""


async def call(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function, of whatever kind, and return its value.

    A coroutine function is awaited. Any other function may block: in a simulation it runs as a simulated
    thread, elsewhere in a real one (`asyncio.to_thread`). An awaitable that it returns is awaited too.
    """
    if iscoroutinefunction(fn):
        return await fn(*args)
    return await _call_blocking(fn, args)


async def _call_blocking(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    value = await asyncio.to_thread(fn, *args)
    return await value if isawaitable(value) else value


def _is_async(fn: Callable[..., Any], known: dict[Any, bool]) -> bool:
    """Tell whether `fn` is a coroutine function; `known` remembers, for to look costs a microsecond."""
    key = fn.__func__ if fn.__class__ is MethodType else fn
    if key.__class__ is not FunctionType:
        return iscoroutinefunction(fn)
    found = known.get(key)
    if found is None:
        if len(known) > _MANY:  # functions made for one call each are not worth remembering
            known.clear()
        found = known[key] = iscoroutinefunction(fn)
    return found


def cause_of(error: BaseException) -> int | None:
    """The index of the operation that recorded `error` last, None if none did."""
    return getattr(error, "__wfsim_op__", None)


def _mark(error: BaseException, index: int) -> None:
    try:  # noqa: SIM105  (suppress() takes four times as long)
        error.__wfsim_op__ = index  # type: ignore[attr-defined]
    except AttributeError:
        pass  # an exception with slots: its cause is then its own operation


class span:  # noqa: N801  (used as a verb: `with span(...)`)
    """An operation that encloses others: `with span("saga", "checkout", "checkout") as it: ...`.

    Everything recorded inside has it as its parent. Leaving records "ok", "fail" with the error, or "info"
    where the outcome is not known: cancelled, timed out, or the reply lost.
    """

    __slots__ = ("_args", "_before", "_process", "_simulation", "cause", "data", "index")

    def __init__(
        self,
        kind: str,
        design: str,
        name: str,
        *,
        attempt: int = 1,
        cause: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self._args = (kind, design, name, attempt, cause, data)
        self._simulation: Simulation | None = None
        self.index: int | None = None
        self.cause: int | None = None
        self.data: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        simulation = self._simulation = current()
        if simulation is not None:
            kind, design, name, attempt, cause, data = self._args
            entries, now_ns = simulation.recorder.entries, simulation.environment._now
            process = self._process = process_name()
            parent = self._before = _PARENT.get()
            index = self.index = len(entries) // WIDTH
            plain = plain_data(data) if data else None
            entries += ("invoke", now_ns, kind, design, name, process, attempt, parent, cause, plain)
            _PARENT.set(index)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        simulation = self._simulation
        if simulation is None or isinstance(error, GeneratorExit):
            return
        assert self.index is not None  # noqa: S101
        _PARENT.set(self._before)
        if error is None:
            simulation.recorder.complete("ok", self.index, self.cause, self.data)
        else:
            _record_failure(simulation, self.index, error, self.cause, self.data)

    def perform(
        self,
        kind: str,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        cause: int | None = None,
        after_failure: AfterFailure | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Do what the function `perform` does, inside this span, where no other code runs meanwhile.

        It is cheaper, since where it belongs is known. Between two such calls the span's own code must record
        nothing by `event` or `effect`: what it recorded would seem to belong to the first.
        """
        simulation, design = self._simulation, self._args[1]
        if simulation is None:
            return _in_earnest(design, name, fn, args, 1, after_failure)
        where = (simulation, self._process, self.index, False)
        return _recorded(where, (kind, design, name), fn, args, 1, cause, None, after_failure)


class AfterFailure(Protocol):
    """What a policy decides when a try has failed: how long to wait before the next one."""

    def __call__(
        self,
        error: Exception,
        attempt: int,
        waited_ns: int,
        design: str,
        name: str,
        cause: int | None,
        /,
    ) -> int:
        """Nanoseconds to wait; raise (the error, or one that tells of giving up) if there is no next try.

        `waited_ns` is the wait before this try; `cause` the operation that recorded the failure.
        """


def perform(
    kind: str,
    design: str,
    name: str,
    fn: Callable[..., Any],
    *args: Any,
    attempt: int = 1,
    cause: int | None = None,
    data: Mapping[str, Any] | None = None,
    after_failure: AfterFailure | None = None,
) -> Coroutine[Any, Any, Any]:
    """Call `fn(*args)` as one operation of a design; await what this returns for its value.

    In a simulation it is recorded as `kind` `name` of `design`, and the nemesis may strike before the call
    and before the reply. Elsewhere it is a call and nothing more. With `after_failure` it is tried again as
    that says; each try is an operation of its own, caused by the one before.
    """
    simulation = current()
    if simulation is None:
        return _in_earnest(design, name, fn, args, attempt, after_failure)
    plain = plain_data(data) if data else None
    where = (simulation, process_name(), _PARENT.get(), True)
    return _recorded(where, (kind, design, name), fn, args, attempt, cause, plain, after_failure)


async def _recorded(  # noqa: C901  (see below)
    where: tuple[Simulation, str, int | None, bool],
    who: tuple[str, str, str],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    attempt: int,
    cause: int | None,
    data: dict[str, Any] | None,
    after_failure: AfterFailure | None,
) -> Any:
    # One coroutine, with the recorder's and the call's own code in it: every step of every design passes
    # here, and is resumed through here each time it has waited.
    kind, design, name = who
    simulation, process, parent, alone = where
    clock, entries, nemesis = simulation.environment, simulation.recorder.entries, simulation.nemesis
    watched = () if nemesis is None else nemesis.watches(name)
    awaited = _is_async(fn, simulation.coroutine_functions)
    waited_ns = 0
    while True:
        index = len(entries) // WIDTH
        entries += ("invoke", clock._now, kind, design, name, process, attempt, parent, cause, data)
        _PARENT.set(index)
        try:
            if watched and "call" in watched:
                await _pass(simulation, "call", kind, design, name, attempt)
            value = await (fn(*args) if awaited else _call_blocking(fn, args))
            if watched and "reply" in watched:
                await _pass(simulation, "reply", kind, design, name, attempt)
        except GeneratorExit:  # nobody waits for it any more, and its context may be gone
            raise
        except BaseException as error:
            _PARENT.set(parent)
            cause = _record_failure(simulation, index, error)
            if after_failure is None or not isinstance(error, Exception):
                raise
            waited_ns = after_failure(error, attempt, waited_ns, design, name, cause)
        else:
            if alone:
                _PARENT.set(parent)
            told = None if value is None else plain_data({"value": value})
            entries += ("ok", clock._now, None, None, None, None, None, index, None, told)
            return value
        await sleep(waited_ns / NS_PER_SECOND)
        attempt += 1


def _record_failure(
    simulation: Simulation,
    index: int,
    error: BaseException,
    cause: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> int:
    """Record that the operation begun at `index` ended with `error`; the index of that."""
    told: dict[str, Any] = describe_error(error)
    outcome = "fail"
    if isinstance(error, _UNKNOWN):
        outcome = "info"
        told["effect"] = "happened" if isinstance(error, ReplyLost) else "unknown"
    if data:
        told = plain_data({**data, **told})
    entries = simulation.recorder.entries
    end = len(entries) // WIDTH
    cause = cause_of(error) if cause is None else cause
    entries += (outcome, simulation.environment._now, None, None, None, None, None, index, cause, told)
    _mark(error, end)
    return end


async def _in_earnest(
    design: str,
    name: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    attempt: int,
    after_failure: AfterFailure | None,
) -> Any:
    """Perform an operation outside of a simulation."""
    waited_ns = 0
    while True:
        try:
            return await call(fn, *args)
        except Exception as error:
            if after_failure is None:
                raise
            waited_ns = after_failure(error, attempt, waited_ns, design, name, None)
        await sleep(waited_ns / NS_PER_SECOND)
        attempt += 1


async def _pass(
    simulation: Simulation, point: str, kind: str, design: str, name: str, attempt: int
) -> Fault | None:
    at = FaultPoint(point, kind, design, name, attempt, process_name(), simulation.now_ns)
    fault = simulation.nemesis.ask(at)  # type: ignore[union-attr]
    if fault is None:
        return None
    parent = _PARENT.get()
    index = simulation.recorder.event(
        "fault",
        design,
        fault.kind,
        at.process,
        attempt,
        parent,
        parent,
        {"point": point, "on": kind, "step": name, **fault.describe()},
    )
    try:
        await fault.strike(simulation, at)
    except BaseException as error:
        _mark(error, index)
        raise
    return fault


async def fault_point(
    point: str, *, kind: str = "", design: str = "", name: str = "", attempt: int = 1
) -> Fault | None:
    """Declare a place where a fault may strike, in a primitive or in your own code.

    Give the fault that struck, None if none did. Most faults have done all they do by then (raised, waited,
    crashed); some, such as one that duplicates a message, only the code at the fault point can carry out.

    The idea is FoundationDB's BUGGIFY. Outside a simulation, and in one without faults, it does nothing.
    """
    simulation = current()
    if simulation is None or simulation.nemesis is None or point not in simulation.nemesis.watches(name):
        return None
    return await _pass(simulation, point, kind, design, name, attempt)


def event(
    kind: str,
    name: str,
    *,
    design: str = "",
    cause: int | None = None,
    attempt: int = 0,
    data: Mapping[str, Any] | None = None,
) -> int | None:
    """Record a fact that is no call; its index, None outside a simulation."""
    simulation = current()
    if simulation is None:
        return None
    entries, now_ns = simulation.recorder.entries, simulation.environment._now
    plain = plain_data(data) if data else None
    entries += ("event", now_ns, kind, design, name, process_name(), attempt, _PARENT.get(), cause, plain)
    return len(entries) // WIDTH - 1


def effect(name: str, key: object = None, **data: Any) -> None:
    """Record that something happened in the world: a card was charged, a parcel left.

    Checkers such as `effect_at_most_once` judge these, and not what the orchestrator believes. `key` tells
    one effect from another of the same name (an order's number, an idempotency key).
    """
    event("effect", name, cause=_PARENT.get(), data={"key": key, **data})
