"""The checker of retries on runs of real designs: silent when time limits and crashes cut the tries short."""

from __future__ import annotations

import asyncio

import pytest

from wfsim import (
    DAGWorkflow,
    MemoryJournal,
    Retry,
    Saga,
    crash,
    delay,
    fail,
    hang,
    lose_reply,
    simulate,
    start_process,
)
from wfsim.checkers import retried_as_policy

FAULTS = {
    "hang": lambda step: hang(step, probability=0.7),
    "delay": lambda step: delay(step, by="450ms", probability=0.7),
    "fail": lambda step: fail(step, error=ConnectionError, probability=0.7),
    "lost reply": lambda step: lose_reply(step, probability=0.7),
}


async def work():
    await asyncio.sleep(0.1)


def checkout(journal=None, **options):
    """Two steps side by side and one after them, each with limits and policies for both ways."""
    saga = Saga("checkout", journal=journal, **options)
    spread = Retry(attempts=4, delay="100ms", jitter="decorrelated")
    slow = Retry(attempts=3, delay="1s")
    both = {"timeout": "150ms", "compensate_timeout": "150ms", "compensate_retry": spread}
    saga.add_step("stock", forward=work, compensate=work, retry=slow, depends_on=(), **both)
    saga.add_step("card", forward=work, compensate=work, retry=spread, depends_on=(), **both)
    return saga.add_step("mail", forward=work, retry=slow, timeout="500ms", depends_on=("stock", "card"))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("options", [{}, {"timeout": "300ms"}, {"timeout": "1500ms"}])
@pytest.mark.parametrize("with_journal", [False, True])
def test_right_sagas_are_silent_whatever_cuts_them_short(fault, options, with_journal):
    """A try, the time of the whole and a failure beside it may each end the trying; a crash goes on or begins anew."""
    judged = 0
    for seed in range(8):
        saga = checkout(MemoryJournal() if with_journal else None, **options)
        faults = [FAULTS[fault](None)]
        if with_journal:
            faults.append(crash(restart_after="500ms", count=1, probability=0.3))

        async def service(saga=saga):
            return await start_process("orders", saga.run, "order-1")

        run = simulate(service, faults=faults, seed=seed, max_time="1h")
        verdict = retried_as_policy(run.history)
        assert verdict.valid is not False, (seed, verdict.message)
        judged += verdict.valid is True
    assert judged


@pytest.mark.parametrize("fault", FAULTS)
def test_right_dags_are_silent_whatever_cuts_them_short(fault):
    """Tasks with limits that stand in line for a slot."""
    for seed in range(8):
        dag = DAGWorkflow(name="build", max_parallel=2)
        for name in "abcd":
            dag.add_task(name, work, retry=Retry(attempts=3, delay="200ms"), timeout="150ms")
        verdict = retried_as_policy(simulate(dag, faults=[FAULTS[fault](None)], seed=seed).history)
        assert verdict.valid is True, (seed, verdict.message)


def test_a_pivot_that_is_taken_up_again_after_the_deadline_has_tries_of_its_own():
    """Cut off with its pivot in doubt, a saga goes on: the pivot gets all its tries again."""
    saga = Saga("checkout", timeout="300ms")
    saga.add_step("charge", forward=work, pivot=True, retry=Retry(attempts=3, delay="50ms"))
    history = simulate(saga, "order-1", faults=[lose_reply("charge")]).history
    tries = [span.attempt for span in history.spans() if span.kind == "forward"]
    assert tries == [1, 2, 1, 2, 3]
    assert retried_as_policy(history).valid is True


class Lazy(Retry):
    """Says three tries and makes one."""

    after_failure = None

    async def run(self, attempt, *, design, name):  # noqa: ARG002 - as a policy must be
        return await attempt(1)


class Stubborn(Retry):
    """Says TimeoutError only, and tries again after anything."""

    after_failure = None

    async def run(self, attempt, *, design, name):  # noqa: ARG002 - as a policy must be
        try:
            return await attempt(1)
        except ConnectionError:
            await asyncio.sleep(0.2)
            return await attempt(2)


def test_a_policy_that_breaks_its_word_is_found_within_time_limits():
    """Limits excuse what they cut off, and nothing before."""
    saga = Saga("checkout", timeout="10s")
    saga.add_step("charge", forward=work, retry=Lazy(attempts=3, delay="200ms"), timeout="150ms")
    verdict = retried_as_policy(simulate(saga, "order-1", faults=[hang("charge")]).history)
    assert verdict.message == "saga checkout: 'charge' was given up after 1 try, but its policy allows 3"

    saga = Saga("checkout", timeout="10s")
    policy = Stubborn(attempts=3, delay="200ms", jitter="none", retry_on=TimeoutError)
    saga.add_step("charge", forward=work, retry=policy, timeout="150ms")
    verdict = retried_as_policy(
        simulate(saga, "order-1", faults=[fail("charge", error=ConnectionError, count=1)]).history
    )
    assert "was tried again after try 1 failed with ConnectionError" in verdict.message


def test_a_try_that_timed_out_is_the_cause_of_the_next():
    """The time limit ends a try by a cancellation; the retry and the next try still name it."""
    saga = Saga("checkout")
    saga.add_step("charge", forward=work, retry=Retry(attempts=2, delay="200ms"), timeout="150ms")
    history = simulate(saga, "order-1", faults=[hang("charge", count=1)]).history
    first, second = [span for span in history.spans() if span.kind == "forward"]
    assert second.cause == first.completion
    assert [op.cause for op in history.where(kind="retry")] == [first.completion]
