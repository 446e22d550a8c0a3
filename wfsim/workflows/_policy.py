"""What a flow knows of the policies that wrap its steps, and the one it falls back on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from wfsim.errors import DesignError, RetriesExhausted
from wfsim.kernel import cause_of, event, perform, sleep
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Attempt(Protocol[T_co]):
    """One more try of a step: ``number`` counts from 1, ``cause`` is the operation that made it necessary."""

    def __call__(self, number: int, cause: int | None = None, /) -> Awaitable[T_co]: ...


@runtime_checkable
class Policy(Protocol):
    """What wraps a step: it decides whether and when the step is tried (again).

    A policy that only decides what comes after a failed try may have a method ``after_failure`` too, as
    ``wfsim.kernel.perform`` wants it; then it takes no part in the tries themselves.
    """

    def describe(self) -> dict[str, Any]:
        """Give the policy as plain data, for the history: a checker judges by it."""

    async def run(self, attempt: Attempt[T], *, design: str, name: str) -> T:
        """Try the step ``name`` of ``design``: ``await attempt(1)``, ``await attempt(2, cause)``, ..."""


class ThreeTries:
    """Three tries a tenth of a second apart: what a compensation gets that names no policy.

    An effect that stays behind is worse than a short wait, so a compensation is never tried only once by
    accident.
    """

    attempts = 3
    delay_ns = NS_PER_SECOND // 10

    def describe(self) -> dict[str, Any]:
        return {"attempts": self.attempts, "backoff": "fixed", "delay_ns": self.delay_ns}

    def after_failure(
        self, error: Exception, attempt: int, _waited_ns: int, design: str, name: str, cause: int | None, /
    ) -> int:
        last = attempt == self.attempts
        outcome = {"gave_up": "attempts"} if last else {"delay_ns": self.delay_ns}
        data = {"policy": self.describe(), **outcome}
        event("retry", name, design=design, cause=cause, attempt=attempt, data=data)
        if last:
            raise RetriesExhausted(attempt, error, name) from error
        return self.delay_ns

    async def run(self, attempt: Attempt[T], *, design: str, name: str) -> T:
        number, cause = 1, None
        while True:
            try:
                return await attempt(number, cause)
            except Exception as error:  # noqa: BLE001 - after_failure raises it in the end
                cause = cause_of(error)
                delay_ns = self.after_failure(error, number, 0, design, name, cause)
            await sleep(delay_ns / NS_PER_SECOND)
            number += 1


def check_policy(policy: object, part: str) -> None:
    """Raise DesignError if ``policy`` cannot wrap a step; ``part`` says where it was given."""
    if policy is None or (isinstance(policy, Policy) and not isinstance(policy, type)):
        return
    raise DesignError(f"{part} is {policy!r}, which is no policy; write for example retry=Retry(attempts=3)")


def perform_under(
    policy: Policy | None,
    kind: str,
    design: str,
    name: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    cause: int | None = None,
) -> Awaitable[Any]:
    """Perform one step as its policy says. Each try is an operation, caused by the one before."""
    after_failure = getattr(policy, "after_failure", None)
    if policy is None or after_failure is not None:
        return perform(kind, design, name, fn, *args, cause=cause, after_failure=after_failure)

    def attempt(number: int, again: int | None = None, /) -> Awaitable[Any]:
        return perform(kind, design, name, fn, *args, attempt=number, cause=cause if again is None else again)

    return policy.run(attempt, design=design, name=name)
