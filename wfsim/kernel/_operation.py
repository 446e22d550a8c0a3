"""Operations: what a design does, written to the history and offered to the nemesis.

`perform` is the one way in which a primitive calls a user's function: it records, passes the two fault
points that every call has ("call", before it; "reply", after the effect and before the caller knows), and
names what led to what. Outside a simulation all of this does nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from inspect import CO_COROUTINE, isawaitable, iscoroutinefunction
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol, Self

from wfsim.errors import ReplyLost
from wfsim.history import describe_error
from wfsim.kernel._ambient import current, process_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from wfsim.kernel._simulation import Simulation

_PARENT: ContextVar[int | None] = ContextVar("wfsim_parent", default=None)


@dataclass(frozen=True, slots=True)
class FaultPoint:
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

    def ask(self, at: FaultPoint) -> Fault | None:
        """The fault that strikes at this point now, None to let it pass."""

    def heal(self) -> None:
        """Stop: no fault strikes from now on."""


async def call(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function, of whatever kind, and return its value.

    A coroutine function is awaited. Any other function may block: in a simulation it runs as a simulated
    thread, elsewhere in a real one (`asyncio.to_thread`). An awaitable that it returns is awaited too.
    """
    if _is_async(fn):
        return await fn(*args)
    value = await asyncio.to_thread(fn, *args)
    return await value if isawaitable(value) else value


def _is_async(fn: Callable[..., Any]) -> bool:
    # A plain function is looked at directly: inspect takes its time, and every step passes here.
    if fn.__class__ is FunctionType:
        return bool(fn.__code__.co_flags & CO_COROUTINE) or iscoroutinefunction(fn)
    return iscoroutinefunction(fn)


def cause_of(error: BaseException) -> int | None:
    """The index of the operation that recorded `error` last, None if none did."""
    return getattr(error, "__wfsim_op__", None)


def _mark(error: BaseException, index: int) -> None:
    with suppress(AttributeError):  # an exception with slots: its cause is then its own operation
        error.__wfsim_op__ = index  # type: ignore[attr-defined]


class span:  # noqa: N801  (used as a verb: `with span(...)`)
    """An operation that encloses others: `with span("saga", "checkout", "checkout") as it: ...`.

    Everything recorded inside has it as its parent. Leaving records "ok", "fail" with the error, or "info"
    where the outcome is not known: cancelled, timed out, or the reply lost.
    """

    __slots__ = ("_args", "_simulation", "_token", "cause", "data", "index")

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
        self._token: Token[int | None] | None = None
        self.index: int | None = None
        self.cause: int | None = None
        self.data: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        simulation = self._simulation = current()
        if simulation is not None:
            kind, design, name, attempt, cause, data = self._args
            self.index = simulation.recorder.invoke(
                kind, design, name, process_name(), attempt, _PARENT.get(), cause, data
            )
            self._token = _PARENT.set(self.index)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        if self._simulation is None or isinstance(error, GeneratorExit):
            return
        assert self._token is not None  # noqa: S101
        assert self.index is not None  # noqa: S101
        _PARENT.reset(self._token)
        recorder = self._simulation.recorder
        if error is None:
            recorder.complete("ok", self.index, self.cause, self.data)
            return
        outcome, told = _outcome(error)
        cause = cause_of(error) if self.cause is None else self.cause
        _mark(error, recorder.complete(outcome, self.index, cause, {**(self.data or {}), **told}))


def _outcome(error: BaseException) -> tuple[Any, dict[str, Any]]:
    told = dict(describe_error(error))
    if isinstance(error, ReplyLost):
        return "info", {**told, "effect": "happened"}
    if isinstance(error, (asyncio.CancelledError, TimeoutError)):
        return "info", {**told, "effect": "unknown"}
    return "fail", told


async def perform(
    kind: str,
    design: str,
    name: str,
    fn: Callable[..., Any],
    *args: Any,
    attempt: int = 1,
    cause: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> Any:
    """Call `fn(*args)` as one operation of a design and return its value.

    In a simulation it is recorded as `kind` `name` of `design`, and the nemesis may strike before the call
    and before the reply. Elsewhere it is a call and nothing more.
    """
    simulation = current()
    if simulation is None:
        return await call(fn, *args)
    with span(kind, design, name, attempt=attempt, cause=cause, data=data) as it:
        if simulation.nemesis is not None:
            await _pass(simulation, "call", kind, design, name, attempt)
        value = await call(fn, *args)
        if simulation.nemesis is not None:
            await _pass(simulation, "reply", kind, design, name, attempt)
        if value is not None:
            it.data = {"value": value}
        return value


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
    if simulation is None or simulation.nemesis is None:
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
    return simulation.recorder.event(kind, design, name, process_name(), attempt, _PARENT.get(), cause, data)


def effect(name: str, key: object = None, **data: Any) -> None:
    """Record that something happened in the world: a card was charged, a parcel left.

    Checkers such as `effect_at_most_once` judge these, and not what the orchestrator believes. `key` tells
    one effect from another of the same name (an order's number, an idempotency key).
    """
    event("effect", name, cause=_PARENT.get(), data={"key": key, **data})
