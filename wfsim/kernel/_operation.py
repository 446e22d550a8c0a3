"""Operations: what a design does, written to the history and offered to the nemesis.

`perform` is the one way in which a primitive calls a user's function: it records, passes the two fault
points that every call has ("call", before it; "reply", after the effect and before the caller knows), and
names what led to what. Outside a simulation all of this does nothing.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from inspect import CO_COROUTINE, isawaitable, iscoroutinefunction
from types import FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from wfsim.errors import ReplyLost
from wfsim.history import WIDTH, Plain, describe_error, plain_data
from wfsim.kernel._ambient import current, process_name
from wfsim.kernel._arguments import with_arguments
from wfsim.kernel._cause import cause_of, current_parent, mark, set_parent
from wfsim.kernel._faultpoint import strike
from wfsim.kernel._tasks import sleep
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from types import TracebackType

    from wfsim.kernel._environment import Environment
    from wfsim.kernel._faultpoint import Decide
    from wfsim.kernel._simulation import Simulation

# What is known of the steps of one name: the function last performed for them, whether it is a coroutine function,
# and who decides on faults before its call and before its reply.
Plan: TypeAlias = "tuple[Callable[..., Any], bool, Decide | None, Decide | None]"

# Where an operation belongs: simulation, its clock, what it recorded and what it knows of steps, the process, the
# enclosing operation, and whether code that does not belong to that operation may follow at once.
Where: TypeAlias = (
    "tuple[Simulation, Environment, list[Any], dict[tuple[str, str, str], Plan], str, int | None, bool]"
)

# After these nobody knows whether the effect happened; of a lost reply the nemesis knows that it did.
_UNKNOWN = (asyncio.CancelledError, TimeoutError)
_MANY = 10_000
_PARENT_PLACE = 5  # where in an entry the parent stands


async def call(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a user's function, of whatever kind, and return its value.

    A coroutine function is awaited. Any other function may block: in a simulation it runs as a simulated
    thread, elsewhere in a real one (`asyncio.to_thread`). An awaitable that it returns is awaited too.
    """
    if is_coroutine_function(fn):
        return await fn(*args)
    return await _call_blocking(fn, args)


async def _call_blocking(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    simulation = current()
    if simulation is None or (loop := simulation.bridge.loop_at_hand()) is None:
        value = await asyncio.to_thread(fn, *args)
    else:
        begun = simulation.bridge.begin(fn, args, copy_context())
        value = begun.result() if begun.ended else await begun.awaited_in(loop)
    # `isawaitable` says the same of all but the coroutines that are generators, and takes its time.
    if hasattr(value.__class__, "__await__") or (value.__class__ is GeneratorType and isawaitable(value)):
        return await value
    return value


def is_coroutine_function(fn: Callable[..., Any]) -> bool:
    """Tell the same as `inspect.iscoroutinefunction`, which takes its time, of the plain case at once."""
    if fn.__class__ is FunctionType and fn.__code__.co_flags & CO_COROUTINE:
        return True
    return iscoroutinefunction(fn)


def _is_async(fn: Callable[..., Any], known: dict[Any, bool]) -> bool:
    """Tell whether `fn` is a coroutine function; `known` remembers, for to look costs a microsecond."""
    key = fn.__func__ if fn.__class__ is MethodType else fn
    if key.__class__ is not FunctionType or key.__code__.co_flags & CO_COROUTINE:
        return is_coroutine_function(key)
    found = known.get(key)
    if found is None:
        if len(known) > _MANY:  # functions made for one call each are not worth remembering
            known.clear()
        found = known[key] = is_coroutine_function(fn)
    return found


def begin(
    who: tuple[str, str, str],
    attempt: int = 1,
    cause: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> Where | None:
    """Begin an operation for a flow that performs its steps by `perform_in`; None outside of a simulation.

    It is ended by `end`, or by leaving `span.begun(where)` with an error. Until its first step the flow must
    record nothing else: it would not seem to belong to the operation.
    """
    simulation = current()
    if simulation is None:
        return None
    if data is not None and data.__class__ is not Plain:
        data = plain_data(data)
    clock, entries, process = simulation.environment, simulation.recorder.entries, process_name()
    index = len(entries) // WIDTH
    entries += ("invoke", clock._now, who, process, attempt, current_parent(), cause, data or None)
    return (simulation, clock, entries, simulation.plans, process, index, False)


def end(where: Where | None, cause: int | None = None, data: dict[str, Any] | None = None) -> None:
    """End an operation well that `begin` began."""
    if where is not None:
        _, clock, entries, _, _, index, _ = where
        set_parent(entries[index * WIDTH + _PARENT_PLACE])  # type: ignore[operator]  # an operation has an index
        entries += ("ok", clock._now, None, None, index, None, cause, data)


class span:  # noqa: N801  (used as a verb: `with span(...)`)
    """An operation that encloses others: `with span("saga", "checkout", "checkout") as it: ...`.

    Everything recorded inside has it as its parent. Leaving records "ok", "fail" with the error, or "info"
    where the outcome is not known: cancelled, timed out, or the reply lost.
    """

    __slots__ = ("_begun", "_where", "cause", "data", "index")

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
        self._begun = ((kind, design, name), attempt, cause, data)
        self._where: Where | None = None
        self.index: int | None = None
        self.cause: int | None = None
        self.data: dict[str, Any] | None = None

    @classmethod
    def begun(cls, where: Where | None) -> Self:
        """Make a span of what `begin` began: to be left, not to be entered again."""
        self = cls("", "", "")
        self._where = where
        self.index = None if where is None else where[5]
        return self

    def __enter__(self) -> Self:
        if self._where is None:
            where = self._where = begin(*self._begun)
            if where is not None:
                self.index = where[5]
                set_parent(self.index)
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        where = self._where
        if where is None or isinstance(error, GeneratorExit):
            return
        if error is None:
            end(where, self.cause, plain_data(self.data) if self.data else None)
            return
        index: int = where[5]  # type: ignore[assignment]  # a span has an index
        set_parent(where[2][index * WIDTH + _PARENT_PLACE])
        _record_failure(where, index, error, self.cause, self.data)

    @property
    def where(self) -> Where | None:
        """Where the span is, for `perform_in`; None outside of a simulation."""
        return self._where


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
        return _in_earnest((kind, design, name), fn, args, after_failure, attempt)
    plain = plain_data(data) if data else None
    clock, entries, plans = simulation.environment, simulation.recorder.entries, simulation.plans
    where = (simulation, clock, entries, plans, process_name(), current_parent(), True)
    return perform_in(where, (kind, design, name), fn, args, after_failure, attempt, cause, plain)


async def perform_in(  # noqa: C901  (see below)
    where: Where | None,
    who: tuple[str, str, str],
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    after_failure: AfterFailure | None = None,
    attempt: int = 1,
    cause: int | None = None,
    data: dict[str, Any] | None = None,
) -> Any:
    """Do what `perform` does, for a flow that knows where it is: inside a span, where no other code runs meanwhile.

    `where` is the span's, `who` the kind, the design and the name, `data` plain. Between two such calls the flow's
    own code must record nothing by `event` or `effect`: it would seem to belong to the first.
    """
    # One coroutine, with the recorder's and the call's own code in it: every step of every design passes
    # here, and is resumed through here each time it has waited.
    if where is None:
        return await _in_earnest(who, fn, args, after_failure, attempt)
    simulation, clock, entries, plans, process, parent, alone = where
    plan = plans.get(who)
    if plan is None or plan[0] is not fn:
        plan, data = _plan(simulation, who, fn, args, data)
    _, awaited, before_call, before_reply = plan
    waited_ns = 0
    while True:
        index = len(entries) // WIDTH
        entries += ("invoke", clock._now, who, process, attempt, parent, cause, data)
        set_parent(index)
        try:
            if before_call is not None and (fault := before_call(attempt, process, clock._now)) is not None:
                await strike(simulation, fault, "call", who, attempt, process)
            if awaited:
                value = await (fn(*args) if args else fn())
            else:
                value = await _call_blocking(fn, args)
            if before_reply is not None and (fault := before_reply(attempt, process, clock._now)) is not None:
                await strike(simulation, fault, "reply", who, attempt, process)
        except GeneratorExit:  # nobody waits for it any more, and its context may be gone
            raise
        except BaseException as error:
            set_parent(parent)
            cause = _record_failure(where, index, error)
            if after_failure is None or not isinstance(error, Exception):
                raise
            waited_ns = after_failure(error, attempt, waited_ns, who[1], who[2], cause)
        else:
            if alone:
                set_parent(parent)
            told = None if value is None else plain_data({"value": value})
            entries += ("ok", clock._now, None, None, index, None, None, told)
            return value
        await sleep(waited_ns / NS_PER_SECOND)
        attempt += 1


def _plan(
    simulation: Simulation,
    who: tuple[str, str, str],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    data: dict[str, Any] | None,
) -> tuple[Plan, dict[str, Any] | None]:
    """Look up what a step needs to know of its function and of the nemesis, and keep it for the next time.

    Where arguments are recorded nothing is kept: so each call comes here, and gets them into its data.
    """
    plans, watch = simulation.plans, simulation.watch
    if len(plans) > _MANY:  # names made for one call each are not worth remembering
        plans.clear()
    plan = (
        fn,
        _is_async(fn, simulation.coroutine_functions),
        None if watch is None else watch.at("call", *who),
        None if watch is None else watch.at("reply", *who),
    )
    if simulation.record_arguments:
        return plan, with_arguments(fn, args, data)
    plans[who] = plan
    return plan, data


def _record_failure(
    where: Where,
    index: int,
    error: BaseException,
    cause: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> int:
    """Record that the operation begun at `index` ended with `error`; the index of that."""
    _, clock, entries, _, _, _, _ = where
    told: dict[str, Any] = describe_error(error)
    outcome = "fail"
    if isinstance(error, _UNKNOWN):
        outcome = "info"
        told["effect"] = "happened" if isinstance(error, ReplyLost) else "unknown"
    if data:
        told = plain_data({**data, **told})
    end = len(entries) // WIDTH
    cause = cause_of(error) if cause is None else cause
    entries += (outcome, clock._now, None, None, index, None, cause, told)
    mark(error, end)
    return end


async def _in_earnest(
    who: tuple[str, str, str],
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    after_failure: AfterFailure | None = None,
    attempt: int = 1,
) -> Any:
    """Perform an operation outside of a simulation."""
    waited_ns = 0
    while True:
        try:
            return await call(fn, *args)
        except Exception as error:
            if after_failure is None:
                raise
            waited_ns = after_failure(error, attempt, waited_ns, who[1], who[2], None)
        await sleep(waited_ns / NS_PER_SECOND)
        attempt += 1


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
    entries += (
        "event",
        now_ns,
        (kind, design, name),
        process_name(),
        attempt,
        current_parent(),
        cause,
        plain,
    )
    return len(entries) // WIDTH - 1


def effect(name: str, key: object = None, **data: Any) -> None:
    """Record that something happened in the world: a card was charged, a parcel left.

    Checkers such as `effect_at_most_once` judge these, and not what the orchestrator believes. `key` tells
    one effect from another of the same name (an order's number, an idempotency key).
    """
    event("effect", name, cause=current_parent(), data={"key": key, **data})
