"""Try again, after a while: when a failure may pass by itself."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar

from wfsim.errors import DesignError, RealIOError, RetriesExhausted, SimulationError
from wfsim.history import Plain
from wfsim.kernel import cause_of, current, event, perform, sleep
from wfsim.units import NS_PER_SECOND, Duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
P = ParamSpec("P")

Backoff = Literal["fixed", "exponential"]
Jitter = Literal["none", "full", "equal", "decorrelated"]

_BACKOFFS: Final = ("fixed", "exponential")
_JITTERS: Final = ("none", "full", "equal", "decorrelated")
# What decorrelated jitter may grow by from one wait to the next (Brooker, see Retry).
_SPREAD: Final = 3
_MINUTE_NS: Final = 60 * NS_PER_SECOND
_KNOWN: Final = 32  # of so many tries the waits are worked out in advance
# These say that the code or the test is wrong, not that the world failed: trying again cannot help.
_NEVER: Final = (DesignError, RealIOError, SimulationError)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try a step up to ``attempts`` times, the first try included, and wait between the tries.

    ``delay`` (seconds, or ``"100ms"``) is the first wait. With ``backoff="fixed"`` all are as long; with
    ``"exponential"`` each is ``factor`` times the one before, and none is longer than ``max_delay`` (unless
    said otherwise a minute, or ``delay`` if that is longer).

    ``jitter`` spreads the waits, so that clients which failed together do not come back together: ``"full"``
    draws each between zero and what it would be, ``"equal"`` between half of that and all of it,
    ``"decorrelated"`` between ``delay`` and three times the wait before (M. Brooker, Exponential Backoff and
    Jitter, AWS Architecture Blog, 2015).

    ``retry_on`` says which failures are worth another try: an exception type, several of them, or a function
    from the exception to a bool. Any other is raised at once, as it is; so is a cancellation. When the last
    try has failed, RetriesExhausted is raised from its error.

    Use it as the ``retry=`` of a step; as ``await Retry(attempts=5).call(fetch, url)``; or as a decorator,
    ``@Retry(attempts=5)``, on coroutine functions and on plain ones. One object can serve any number of steps
    at once.
    """

    attempts: int = 3
    backoff: Backoff = "exponential"
    delay: Duration = "100ms"
    factor: float = 2.0
    max_delay: Duration | None = None
    jitter: Jitter = "none"
    retry_on: type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool] = Exception
    _delay_ns: int = field(init=False, repr=False, compare=False)
    _max_ns: int = field(init=False, repr=False, compare=False)
    _growing: int = field(init=False, repr=False, compare=False)
    _kinds: tuple[type[Exception], ...] | None = field(init=False, repr=False, compare=False)
    _described: Plain = field(init=False, repr=False, compare=False)
    _waits: tuple[tuple[int, Plain], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self)
        put = functools.partial(object.__setattr__, self)
        put("_delay_ns", parse_duration(self.delay, "Retry: delay"))
        longest_ns = (
            max(_MINUTE_NS, self._delay_ns)
            if self.max_delay is None
            else parse_duration(self.max_delay, "Retry: max_delay")
        )
        put("_max_ns", longest_ns)
        put("_kinds", _kinds(self.retry_on))
        if self._max_ns < self._delay_ns:
            raise DesignError(
                f"Retry: max_delay={self.max_delay!r} is shorter than delay={self.delay!r}, the first wait"
            )
        # How many waits are shorter than the longest.
        put("_growing", self._count_growing())
        put("_described", Plain.of(self.describe()))
        # The first waits, each with what the history is told; none if they are drawn.
        known = range(1, min(self.attempts, _KNOWN)) if self.jitter == "none" else ()
        waits = [self._longest_ns(number) for number in known]
        put("_waits", tuple((wait, Plain(policy=self._described, delay_ns=wait)) for wait in waits))

    def describe(self) -> dict[str, Any]:
        """Give the policy as plain data; lengths of time are in nanoseconds."""
        described: dict[str, Any] = {
            "attempts": self.attempts,
            "backoff": self.backoff,
            "delay_ns": self._delay_ns,
        }
        if self.backoff == "exponential":
            described |= {"factor": self.factor, "max_delay_ns": self._max_ns}
        if self.jitter != "none":
            described["jitter"] = self.jitter
        described["retry_on"] = (
            {"predicate": getattr(self.retry_on, "__name__", type(self.retry_on).__name__)}
            if self._kinds is None
            else [_type_name(kind) for kind in self._kinds]
        )
        return described

    def retries(self, error: BaseException) -> bool:
        """Tell whether this failure is worth another try.

        Never so are errors that tell of a wrong design or a wrong test rather than of a world that failed.
        """
        if not isinstance(error, Exception) or isinstance(error, _NEVER):
            return False
        if self._kinds is None:
            return bool(self.retry_on(error))  # type: ignore[operator] # _check saw that it can be called
        return isinstance(error, self._kinds)

    def delay_ns_after(self, attempt: int, before_ns: int, draw: Callable[[], float]) -> int:
        """Give the wait that follows try number ``attempt``, in nanoseconds.

        ``before_ns`` is the wait before that try, 0 if there was none. ``draw`` gives a float of [0, 1); it
        is asked only if there is jitter.
        """
        if self.jitter == "decorrelated":
            high = max(before_ns, self._delay_ns) * _SPREAD
            return min(self._max_ns, _between(self._delay_ns, high, draw()))
        longest = self._longest_ns(attempt)
        if self.jitter == "none":
            return longest
        return _between(longest // 2 if self.jitter == "equal" else 0, longest, draw())

    def _longest_ns(self, attempt: int) -> int:
        if self.backoff == "fixed" or not self._delay_ns:
            return self._delay_ns
        if attempt > self._growing:
            return self._max_ns
        return min(self._max_ns, round(self._delay_ns * self.factor ** (attempt - 1)))

    def _count_growing(self) -> int:
        """Tell after how many waits ``max_delay`` is reached: beyond that ``factor ** n`` may overflow."""
        if self.factor == 1 or not self._delay_ns:
            return self.attempts
        return math.ceil(math.log(self._max_ns / self._delay_ns) / math.log(self.factor)) + 1

    # -- trying --

    async def run(
        self, attempt: Callable[[int, int | None], Awaitable[T]], *, design: str = "", name: str = ""
    ) -> T:
        """Try ``attempt(1, None)``, ``attempt(2, cause)`` and so on, for the step ``name`` of ``design``."""
        number, cause, delay_ns = 1, None, 0
        while True:
            try:
                return await attempt(number, cause)
            except Exception as error:  # noqa: BLE001 - after_failure raises it unless it is worth another try
                cause = cause_of(error)
                delay_ns = self.after_failure(error, number, delay_ns, design, name, cause)
            await sleep(delay_ns / NS_PER_SECOND)
            number += 1

    def after_failure(
        self, error: Exception, attempt: int, waited_ns: int, design: str, name: str, cause: int | None, /
    ) -> int:
        """Give the wait before the next try in nanoseconds, or raise if there is to be none; record either.

        ``waited_ns`` is the wait before the try that failed, ``cause`` the operation that recorded it.
        """
        retryable = self.retries(error)
        if retryable and attempt <= len(self._waits):
            delay_ns, data = self._waits[attempt - 1]
        elif retryable and attempt < self.attempts:
            delay_ns = self.delay_ns_after(attempt, waited_ns, functools.partial(_draw, design, name))
            data = Plain(policy=self._described, delay_ns=delay_ns)
        else:
            delay_ns = -1
            data = Plain(policy=self._described, gave_up="attempts" if retryable else "not retryable")
        event("retry", name, design=design, cause=cause, attempt=attempt, data=data)
        if not retryable:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and would be held by it
        if delay_ns < 0:
            raise RetriesExhausted(attempt, error, name) from error
        return delay_ns

    async def call(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Call ``fn(*args)``, a function or a coroutine function, under this policy and give its value."""
        name = getattr(fn, "__name__", type(fn).__name__)
        return await perform("call", "", name, fn, *args, after_failure=self.after_failure)

    def __call__(self, fn: Callable[P, T]) -> Callable[P, T]:
        """Decorate a function, so that each call of it is under this policy."""
        if not callable(fn):
            raise DesignError(
                f"@Retry decorates a function, not {fn!r}; to call one now write: await Retry().call(fn)"
            )
        if inspect.iscoroutinefunction(fn):
            return self._patient_coroutine(fn)
        return self._patient_function(fn)

    def _patient_coroutine(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        async def patient(*args: Any, **kwargs: Any) -> Any:
            return await self.call(_bound(fn, args, kwargs))

        return patient

    def _patient_function(self, fn: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(fn)
        def patient(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = _bound(fn, args, kwargs)
            if current() is None or _inside_loop():
                return self._block(bound)
            # Blocking code in a simulation: a loop that it runs is a virtual one.
            value: T = asyncio.run(self.call(bound))
            return value

        return patient

    def _block(self, fn: Callable[[], T]) -> T:
        """Try in the calling thread, as ``run`` does in a coroutine."""
        number, delay_ns = 1, 0
        while True:
            try:
                return fn()
            except Exception as error:  # noqa: BLE001 - as in run
                delay_ns = self.after_failure(error, number, delay_ns, "", getattr(fn, "__name__", ""), None)
            time.sleep(delay_ns / NS_PER_SECOND)  # noqa: TID251 - outside a simulation time is real
            number += 1


def _inside_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _bound(fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], T]:
    """Give a call without arguments that keeps the function's name, and is a coroutine function if it is."""
    bound = functools.partial(fn, *args, **kwargs)
    return functools.update_wrapper(bound, fn)


def _draw(design: str, name: str) -> float:
    """Draw from the simulation's stream for this step, or, in production, from the machine's own chance."""
    simulation = current()
    if simulation is not None:
        return simulation.stream(f"retry/{design}/{name}").random()
    entropy = os.urandom(7)  # noqa: TID251 - clients with equal seeds would all come back at once
    return (int.from_bytes(entropy) >> 3) / (1 << 53)


def _between(low: int, high: int, draw: float) -> int:
    return low + int(draw * (high - low + 1))


def _check(retry: Any) -> None:
    """Raise DesignError, naming the field and the cure, if a field is wrong."""
    if isinstance(retry.attempts, bool) or not isinstance(retry.attempts, int) or retry.attempts < 1:
        raise DesignError(
            f"Retry: attempts={retry.attempts!r} must be 1 or more; it counts the first try too"
        )
    for name, value, allowed in (("backoff", retry.backoff, _BACKOFFS), ("jitter", retry.jitter, _JITTERS)):
        if value not in allowed:
            raise DesignError(f"Retry: {name}={value!r} is unknown; allowed: {', '.join(allowed)}")
    if not 1 <= retry.factor < math.inf:
        raise DesignError(f"Retry: factor={retry.factor!r} must be 1 or more, for waits do not shrink")
    if retry.jitter == "decorrelated" and retry.backoff == "fixed":
        raise DesignError(
            "Retry: jitter='decorrelated' makes the waits grow, so backoff='fixed' contradicts it"
        )


def _kinds(retry_on: Any) -> tuple[type[Exception], ...] | None:
    """Give the types to retry on, None if a function decides. Raise DesignError if it is neither."""
    kinds = tuple(retry_on) if isinstance(retry_on, list | tuple) else (retry_on,)
    if kinds and all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return kinds
    if callable(retry_on) and not isinstance(retry_on, type):
        return None
    raise DesignError(
        f"Retry: retry_on={retry_on!r} must be an Exception type, a list of them, "
        "or a function that takes the exception and tells whether to try again"
    )


def _type_name(kind: type) -> str:
    """Name a type as the history names the type of an error."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
