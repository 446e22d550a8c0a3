"""Retries under time limits: a try, or a wait, that a limit cut off is not held against the policy; a bug is."""

from __future__ import annotations

from asyncio import CancelledError

import pytest

from wfsim import Retry, Saga, delay, fail, simulate
from wfsim.checkers import retried_as_policy
from wfsim.kernel import cause_of, event, perform, sleep, span
from wfsim.storage import MemoryJournal


def takes(seconds):
    async def work():
        await sleep(seconds)

    return work


def retry(attempts, **options):
    return Retry(attempts=attempts, delay="1s", **options)


def one(seconds, policy, journal=None, **options):
    return Saga("s", journal=journal).add_step("a", forward=takes(seconds), retry=policy, **options)


def back(**options):
    saga = Saga("s").add_step("a", forward=takes(1), compensate=takes(5), **options)
    return saga.add_step("b", forward=takes(1))


def nested():
    inner = Saga("inner").add_step("a", forward=takes(5), compensate=takes(1), retry=retry(9))
    return Saga("outer").add_saga(inner, timeout="12s")


def side_by_side():
    saga = Saga("s").add_step("a", forward=takes(3), retry=retry(9), compensate=takes(1), depends_on=[])
    return saga.add_step("b", forward=takes(2.5), compensate=takes(1), depends_on=[])


RIGHT = {
    "every try is cut off": (lambda: one(5, retry(3), timeout="2s"), ()),
    "the first try is cut off": (lambda: one(1, retry(3), timeout="2s"), (delay("a", "5s", attempts=[1]),)),
    "with a journal": (lambda: one(5, retry(3), MemoryJournal(), timeout="2s"), ()),
    "only timeouts are tried again": (lambda: one(5, retry(3, retry_on=TimeoutError), timeout="2s"), ()),
    "timeouts are not tried again": (lambda: one(5, retry(3, retry_on=ConnectionError), timeout="2s"), ()),
    "a compensation is cut off": (
        lambda: back(compensate_retry=retry(3), compensate_timeout="2s"),
        (fail("b"),),
    ),
    "a compensation, by the default": (lambda: back(compensate_timeout="2s"), (fail("b"),)),
    "the saga's time is over in a wait": (
        lambda: Saga("s", timeout="3500ms").add_step("a", forward=takes(1), retry=retry(9)),
        (fail("a"),),
    ),
    "the saga's time is over as a wait is": (
        lambda: Saga("s", timeout="4s").add_step("a", forward=takes(1), retry=retry(9)),
        (fail("a"),),
    ),
    "the saga's time is over in a call": (
        lambda: Saga("s", timeout="4s").add_step("a", forward=takes(3), retry=retry(9)),
        (fail("a", attempts=[1]),),
    ),
    "the time of a saga in a saga": (nested, (fail("a"),)),
    "another step fails meanwhile": (side_by_side, (fail("a"), fail("b", point="reply"))),
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_a_limit_cuts_off_is_not_held_against_the_policy(case):
    """wfsim's own sagas do as their policies say, also where time runs out."""
    make, faults = RIGHT[case]
    verdict = retried_as_policy(simulate(make(), "k", faults=faults).history)
    assert verdict.valid is True, verdict.message


POLICY = {"attempts": 3, "backoff": "fixed", "delay_ns": 10**9, "retry_on": ["Exception"]}


async def by_hand(saga_limit_ns=None, error=ConnectionError):
    """A saga of somebody else: it announces a third try, waits for it, and then gives up all the same."""
    data = {"steps": [{"name": "a", "compensatable": False, "retry": POLICY, "timeout_ns": 10 * 10**9}]}
    with span("saga", "hand", "hand", data=data | {"timeout_ns": saga_limit_ns}):
        cause, last = None, None
        for number in (1, 2):
            try:
                await perform("forward", "hand", "a", failing(error), attempt=number, cause=cause)
            except (Exception, CancelledError) as failed:
                cause, last = cause_of(failed), RuntimeError("gave up")
            told = {"policy": POLICY, "delay_ns": 10**9}
            event("retry", "a", design="hand", cause=cause, attempt=number, data=told)
            await sleep(1)
        raise last


def failing(error):
    async def fails():
        await sleep(0.5)
        raise error("down")

    return fails


@pytest.mark.parametrize("limit_ns", [None, 60 * 10**9])
def test_who_gives_up_after_the_wait_is_still_found(limit_ns):
    """An announced try that never comes is a breach, with time left or without any limit."""

    async def main():
        await by_hand(limit_ns)

    verdict = retried_as_policy(simulate(main).history)
    assert verdict.valid is False
    assert "saga hand: 'a' was given up after 2 tries, but its policy allows 3" in verdict.message


def test_a_cancelled_try_that_no_limit_cut_off_is_not_tried_again():
    """A try that ended long before its limit was cancelled by somebody: to try again is a breach."""

    async def main():
        await by_hand(error=CancelledError)

    verdict = retried_as_policy(simulate(main).history)
    assert "was tried again after try 1 failed with CancelledError" in verdict.message
