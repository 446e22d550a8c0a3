"""simulate() and the Run it returns."""

from __future__ import annotations

import asyncio
import pickle
import time
from datetime import datetime
from functools import partial

import pytest

from wfsim.checkers import effect_at_most_once
from wfsim.errors import Deadlock, DesignError, InjectedFault, RetriesExhausted
from wfsim.harness import Experiment, run_all, simulate
from wfsim.kernel import effect, fault_point
from wfsim.nemesis import fail
from wfsim.resilience import Retry
from wfsim.workflows import Saga


async def add(left, right):
    await asyncio.sleep(60)
    return left + right


def checkout(name="checkout"):
    saga = Saga(name)
    saga.add_step("reserve", forward=lambda: effect("reserved"), compensate=lambda: effect("released"))
    saga.add_step("charge", forward=lambda: effect("charged"), compensate=lambda: effect("refunded"))
    return saga


def test_a_coroutine_function_runs_in_virtual_time():
    """An hour of asyncio.sleep takes no real time, and the value comes back."""
    started = time.perf_counter()
    run = simulate(add, 1, 2)
    assert (run.value, run.outcome, run.ok, run.duration) == (3, "ok", True, 60.0)
    assert time.perf_counter() - started < 5


def test_a_plain_function_may_block():
    """A synchronous main function waits on the virtual clock."""

    def main():
        time.sleep(3600)
        return "awake"

    run = simulate(main)
    assert (run.value, run.duration_ns) == ("awake", 3600 * 10**9)


def test_a_design_is_run_by_its_run_method():
    """A saga goes in as it is, and the run bears its name."""
    run = simulate(checkout())
    assert (run.name, run.outcome) == ("checkout", "ok")
    assert [op.name for op in run.history.where(kind="effect")] == ["reserved", "charged"]


def test_faults_strike_and_the_error_is_in_the_run():
    """An error of the main function is an outcome; result() raises it."""
    run = simulate(checkout(), faults=[fail("charge", error=ConnectionError("down"))])
    assert (run.outcome, run.ok, type(run.error)) == ("error", False, ConnectionError)
    with pytest.raises(ConnectionError, match="down"):
        run.result()
    assert [op.name for op in run.history.where(kind="effect")] == ["reserved", "released"]


def test_result_gives_the_value_of_a_good_run():
    """result() is the value if there is one."""
    assert simulate(add, 2, 2).result() == 4


def test_a_deadlock_is_an_outcome_with_a_name():
    """A task that waits for what never comes ends the run at once and is named."""

    async def main():
        await asyncio.get_running_loop().create_future()

    run = simulate(main)
    assert run.outcome == "deadlock"
    assert [waiting.process for waiting in run.waiting] == ["main"]
    with pytest.raises(Deadlock):
        run.result()


def test_bounds_end_a_run():
    """The bound of virtual time is a duration, that of steps a number; each has its outcome."""

    async def forever():
        while True:
            await asyncio.sleep(1)

    async def busy():
        while True:
            await asyncio.sleep(0)

    assert simulate(forever, max_time="1h").outcome == "max_time"
    assert simulate(forever, max_steps=1000).outcome == "max_steps"
    assert simulate(busy, max_stalled_steps=1000).outcome == "livelock"


@pytest.mark.parametrize("bound", ["steps", "stalled_steps", "operations"])
@pytest.mark.parametrize("count", [0, -5, "10", 1.5, True])
def test_a_bound_that_is_no_number_from_1_is_refused(bound, count):
    """Not only when the run comes to it."""
    with pytest.raises(DesignError) as caught:
        simulate(lambda: None, **{f"max_{bound}": count})
    assert str(caught.value) == f"max_{bound}={count!r} must be a whole number of 1 or more"


def test_a_start_that_is_no_date_is_refused():
    """With a date that would be one."""
    with pytest.raises(DesignError, match="start is a date"):
        simulate(lambda: None, start="tomorrow")


def test_a_bound_of_operations_ends_what_is_tried_for_ever():
    """A history that only grows would fill the memory long before ten years or fifty million steps are over."""
    saga = Saga("report").add_step("send", forward=lambda: None, retriable=True)
    run = simulate(saga, faults=[fail("send")], max_operations=1000)
    assert run.outcome == "max_operations"
    assert 1000 <= len(run.history) < 10_000
    assert "its bound is 1000" in str(run.error)
    assert "is something tried for ever?" in str(run.error)


def test_the_start_is_the_date_inside():
    """The wall clock begins at the given date."""

    async def main():
        return datetime.now().year

    assert simulate(main, start="2041-05-06T12:00:00+00:00").value == 2041


def test_equal_seeds_give_equal_fingerprints_and_others_differ():
    """The seed, and nothing else, decides what chance does."""
    retry = Retry(attempts=3, jitter="full")

    async def main():
        async def flaky():
            await fault_point("call", name="flaky")

        await retry.call(flaky)

    def play(seed):
        return simulate(main, seed=seed, faults=[fail("flaky", attempts=1)])

    assert play(1).fingerprint == play(1).fingerprint
    assert play(1).fingerprint != play(2).fingerprint
    assert play(7).seed == 7


def test_check_judges_by_the_history():
    """check() hands the history to each checker, options bound by partial."""
    verdicts = simulate(checkout()).check(effect_at_most_once, partial(effect_at_most_once, name="charged"))
    assert [verdict.valid for verdict in verdicts] == [True, True]


def test_what_is_handed_to_check_is_a_checker():
    """A verdict in its place is most likely a checker that was called already."""
    run = simulate(checkout())
    with pytest.raises(DesignError, match="is no checker; hand over the function itself, uncalled"):
        run.check(effect_at_most_once(run.history))


def test_rules_that_meet_nothing_are_told():
    """A fault for a step that does not exist is in ``unmatched``; one that could have struck is not."""
    run = simulate(checkout(), faults=[fail("chrge"), fail("charge", attempts=9)])
    assert [rule.step for rule in run.unmatched] == ["chrge"]


def test_what_cannot_be_simulated_is_refused():
    """A coroutine that was called already, and what is no function, get one clear message."""
    with pytest.raises(DesignError, match="pass the function itself"):
        simulate(add(1, 2))
    with pytest.raises(DesignError, match="neither a function nor a design"):
        simulate(3)


def test_each_run_has_a_nemesis_of_its_own():
    """Counts of a rule start at zero in every run: two runs see the same faults."""
    faults = [fail("charge", count=1)]
    saga = Saga("checkout").add_step("charge", forward=lambda: None, retry=Retry(attempts=2))
    first, second = (simulate(saga, faults=faults) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert len(second.history.where(kind="fault")) == 1


def test_an_error_that_exhausted_its_retries_keeps_the_last_one():
    """The error in the run is the one that left the design."""
    saga = Saga("checkout").add_step("charge", forward=lambda: None, retry=Retry(attempts=2))
    run = simulate(saga, faults=[fail("charge")])
    assert isinstance(run.error, RetriesExhausted)
    assert isinstance(run.error.last, InjectedFault)


def test_a_history_travels_by_pickle():
    """What a run wrote comes back from another process as it was."""
    history = simulate(checkout()).history
    assert pickle.loads(pickle.dumps(history)).fingerprint() == history.fingerprint()


def test_a_generator_is_no_main_function_and_no_design():
    """A call of it runs nothing, so it would always go well: most likely it is a SimPy process."""

    def clerk():
        yield 1

    class Clerk:
        def run(self):
            yield 1

    for main in (clerk, Clerk()):
        with pytest.raises(DesignError, match=r"is a generator function; .*environment.process\("):
            simulate(main)
        with pytest.raises(DesignError, match="is a generator function"):
            run_all(Experiment("office", main))


def test_an_async_generator_is_no_main_function():
    """Passing one is answered with what to pass instead."""

    async def numbers():
        yield 1

    with pytest.raises(DesignError, match="async generator"):
        simulate(numbers)
