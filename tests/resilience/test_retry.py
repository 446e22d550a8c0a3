"""Retry: as often as it says, after the waits it says, and only after failures worth it."""

from __future__ import annotations

import asyncio
import inspect
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import DesignError, DurationError, RealIOError, RetriesExhausted
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, fail
from wfsim.resilience import Retry
from wfsim.units import parse_duration

MS = 1_000_000


class Flaky:
    """Fails with these errors, one after the other, then works."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.times = []
        self.__name__ = "flaky"

    async def __call__(self):
        self.times.append(time.monotonic())
        if self.errors:
            raise self.errors.pop(0)
        return "worked"


def play(retry, fn, *args, seed=0, faults=()):
    simulation = Simulation(seed=seed, nemesis=Rules(faults))
    return simulation.run(retry.call, fn, *args), simulation.recorder.history()


def down(times):
    return [ConnectionError(f"down {n}") for n in range(1, times + 1)]


def waits(history):
    return [op.data["delay_ns"] for op in history.where(kind="retry") if "delay_ns" in op.data]


def test_success_needs_one_try():
    """What works is called once."""
    outcome, history = play(Retry(), Flaky())
    assert outcome.value == "worked"
    assert [op.type for op in history] == ["invoke", "ok"]


def test_tries_until_it_works():
    """Failures are passed over as long as tries are left.

    Each try is an operation, caused by the failure before it.
    """
    outcome, history = play(Retry(attempts=3, backoff="fixed", delay="1s"), Flaky(*down(2)))
    assert outcome.value == "worked"
    tries = history.where(type="invoke", kind="call", name="flaky")
    assert [(op.attempt, op.time_ns) for op in tries] == [(1, 0), (2, 1000 * MS), (3, 2000 * MS)]
    assert [history[op.cause].type for op in tries[1:]] == ["fail", "fail"]


def test_gives_up_after_the_last_try():
    """RetriesExhausted says how often was tried and is raised from the last error.

    The history knows why it gave up.
    """
    outcome, history = play(Retry(attempts=3), Flaky(*down(9)))
    error = outcome.error
    assert isinstance(error, RetriesExhausted)
    assert error.attempts == 3
    assert error.last is error.__cause__
    assert str(error) == "flaky failed 3 times; the last error was ConnectionError: down 3"
    assert [op.data.get("gave_up") for op in history.where(kind="retry")] == [None, None, "attempts"]


def test_one_attempt_is_no_retry():
    """`attempts` counts the first try: with 1 there is no second."""
    outcome, history = play(Retry(attempts=1), Flaky(*down(1)))
    assert isinstance(outcome.error, RetriesExhausted)
    assert len(history.where(type="invoke")) == 1


def test_what_is_not_retryable_is_raised_at_once():
    """An error that retry_on does not name leaves as it is, after one try."""
    outcome, history = play(Retry(retry_on=ConnectionError), Flaky(ValueError("no")))
    assert type(outcome.error) is ValueError
    (op,) = history.where(kind="retry")
    assert op.data["gave_up"] == "not retryable"
    assert op.attempt == 1


@pytest.mark.parametrize(
    ("retry_on", "error", "retried"),
    [
        (Exception, KeyError("x"), True),
        (OSError, ConnectionResetError("x"), True),
        ([KeyError, OSError], TimeoutError("x"), True),
        ((KeyError, IndexError), TimeoutError("x"), False),
        (lambda error: "again" in str(error), ValueError("try again"), True),
        (lambda error: "again" in str(error), ValueError("never"), False),
        (Exception, DesignError("wrong"), False),
        (Exception, RealIOError("socket"), False),
    ],
)
def test_retry_on_chooses_the_failures(retry_on, error, retried):
    """A type, several types, or a function decide.

    What tells of a wrong design or test is never tried again.
    """
    _, history = play(Retry(attempts=2, retry_on=retry_on), Flaky(error))
    assert (len(history.where(type="invoke")) == 2) is retried


def test_cancellation_is_never_retried():
    """A cancelled call stays cancelled, also while the policy waits."""

    async def main():
        async with asyncio.timeout(1.5):
            await Retry(attempts=9, backoff="fixed", delay="1s").call(Flaky(*down(9)))

    outcome = Simulation().run(main)
    assert isinstance(outcome.error, TimeoutError)
    assert outcome.duration_ns == 1500 * MS


# -- the waits --


def test_fixed_backoff_waits_the_same():
    """Fixed waits do not grow."""
    _, history = play(Retry(attempts=4, backoff="fixed", delay="250ms"), Flaky(*down(9)))
    assert waits(history) == [250 * MS] * 3


def test_exponential_backoff_grows_up_to_the_longest():
    """Exponential waits grow by the factor and stop at max_delay."""
    _, history = play(Retry(attempts=6, delay="100ms", factor=3, max_delay="2s"), Flaky(*down(9)))
    assert waits(history) == [100 * MS, 300 * MS, 900 * MS, 2000 * MS, 2000 * MS]


@pytest.mark.parametrize("backoff", ["fixed", "exponential"])
def test_a_first_wait_longer_than_a_minute_needs_no_other_word(backoff):
    """The longest wait is a minute unless said otherwise, but never shorter than the first one."""
    _, history = play(Retry(attempts=3, delay="10m", backoff=backoff), Flaky(*down(9)))
    assert [op.data["delay_ns"] for op in history.where(kind="retry") if "delay_ns" in op.data] == [
        600 * 10**9,
        600 * 10**9,
    ]


def test_waits_happen_as_announced():
    """Between the tries exactly the announced time passes."""
    flaky = Flaky(*down(9))
    _, history = play(Retry(attempts=5, jitter="full"), flaky)
    tries = history.where(type="invoke")
    assert [b.time_ns - a.time_ns for a, b in pairwise(tries)] == waits(history)


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated"])
def test_jitter_stays_in_its_range_and_fills_it(jitter):
    """Each wait lies where its kind of jitter says, and over many draws comes near both ends."""
    retry = Retry(attempts=7, delay="100ms", max_delay="1s", jitter=jitter)
    shares = []
    for seed in range(60):
        before = 0
        _, history = play(retry, Flaky(*down(9)), seed=seed)
        for number, wait in enumerate(waits(history)):
            ceiling = min(1000, 100 * 2**number) * MS
            low, high = {
                "full": (0, ceiling),
                "equal": (ceiling // 2, ceiling),
                "decorrelated": (100 * MS, min(1000 * MS, 3 * max(before, 100 * MS))),
            }[jitter]
            assert low <= wait <= high
            shares.append((wait - low) / (high - low))
            before = wait
    assert min(shares) < 0.05
    assert max(shares) > 0.95


def test_same_seed_same_jitter():
    """Jitter comes from a stream of the run: the same seed gives the same waits, another seed others."""
    runs = [
        waits(play(Retry(attempts=5, jitter="full"), Flaky(*down(9)), seed=seed)[1]) for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]


def test_jitter_of_one_step_shifts_no_other():
    """Each step draws from a stream of its own."""

    async def main(others):
        for name in others:
            other = Flaky(*down(9))
            other.__name__ = name
            with pytest.raises(RetriesExhausted):
                await Retry(jitter="full").call(other)
        with pytest.raises(RetriesExhausted):
            await Retry(jitter="full").call(Flaky(*down(9)))

    def waits_of_flaky(others):
        simulation = Simulation(seed=5)
        simulation.run(main, others)
        return [
            op.data.get("delay_ns") for op in simulation.recorder.history().where(kind="retry", name="flaky")
        ]

    assert waits_of_flaky([]) == waits_of_flaky(["a", "b"])


@given(
    attempt=st.integers(1, 10**9),
    before=st.integers(0, 10**12),
    draw=st.floats(0, 1, exclude_max=True),
    factor=st.floats(1, 100),
    delay=st.integers(0, 10**4),
    jitter=st.sampled_from(["none", "full", "equal", "decorrelated"]),
)
def test_no_wait_is_ever_out_of_bounds(attempt, before, draw, factor, delay, jitter):
    """Whatever the numbers, a wait is a whole number of nanoseconds between zero and max_delay."""
    retry = Retry(attempts=10**9, delay=f"{delay}ms", max_delay="1h", factor=factor, jitter=jitter)
    wait = retry.delay_ns_after(attempt, before, lambda: draw)
    assert isinstance(wait, int)
    assert 0 <= wait <= parse_duration("1h")


def test_jitter_at_its_utmost():
    """The largest draw gives the longest wait, to the nanosecond; decorrelated ones grow from the last."""
    utmost = 1 - 2**-53
    for jitter in ("full", "equal"):
        assert Retry(jitter=jitter).delay_ns_after(2, 0, lambda: utmost) == 200 * MS
    decorrelated = Retry(jitter="decorrelated", max_delay="2s")
    waits = [0]
    for number in range(1, 5):
        waits.append(decorrelated.delay_ns_after(number, waits[-1], lambda: utmost))
    assert waits[1:] == [300 * MS, 900 * MS, 2000 * MS, 2000 * MS]


def test_decorrelated_waits_grow_in_a_run():
    """In a run each wait is drawn from the one before it: some grow beyond three times the first delay."""
    retry = Retry(attempts=8, delay="100ms", max_delay="1h", jitter="decorrelated")
    longest = [max(waits(play(retry, Flaky(*down(9)), seed=seed)[1])) for seed in range(10)]
    assert max(longest) > 900 * MS


def test_zero_delay_tries_again_at_once():
    """A delay of zero is allowed: the tries follow each other without time passing."""
    outcome, _ = play(Retry(attempts=3, delay=0), Flaky(*down(2)))
    assert outcome.value == "worked"
    assert outcome.duration_ns == 0


# -- ways to use it --


def test_decorator_on_a_coroutine_function():
    """A decorated coroutine function stays one, keeps its name, takes its arguments and is tried again."""

    @Retry(attempts=2, delay="1s")
    async def fetch(url, *, times):
        """Fetch."""
        calls.append(url)
        if len(calls) < times:
            raise ConnectionError("down")
        return url.upper()

    calls = []
    assert inspect.iscoroutinefunction(fetch)
    assert fetch.__name__ == "fetch"

    async def main():
        return await fetch("home", times=2)

    simulation = Simulation()
    assert simulation.run(main).value == "HOME"
    assert [op.name for op in simulation.recorder.history().where(type="invoke")] == ["fetch", "fetch"]


def test_decorator_on_a_plain_function():
    """A decorated plain function stays plain.

    It blocks, in virtual time in a simulation and in real time elsewhere.
    """

    def make():
        calls = []

        @Retry(attempts=3, backoff="fixed", delay="20ms")
        def fetch():
            calls.append(1)
            if len(calls) < 3:
                raise ConnectionError("down")
            return len(calls)

        return fetch

    simulation = Simulation()
    outcome = simulation.run(make())
    assert outcome.value == 3
    assert outcome.duration_ns == 40 * MS
    assert len(simulation.recorder.history().where(type="invoke", name="fetch")) == 3
    begin = time.perf_counter()
    assert make()() == 3
    assert time.perf_counter() - begin >= 0.04


def test_faults_strike_a_call_under_a_retry():
    """A call that nothing else wraps is still a fault point, under the function's name."""
    outcome, _ = play(Retry(attempts=3), Flaky(), faults=[fail("flaky", attempts=[1, 2])])
    assert outcome.value == "worked"


def test_real_time_on_a_plain_loop():
    """In production the waits are real, and jitter is too: no two runs share their draws."""
    retry = Retry(attempts=3, backoff="fixed", delay="20ms")
    begin = time.perf_counter()
    assert asyncio.run(retry.call(Flaky(*down(2)))) == "worked"
    assert time.perf_counter() - begin >= 0.04
    jittered = Retry(attempts=2, delay="2ms", jitter="full")
    assert asyncio.run(jittered.call(Flaky(*down(1)))) == "worked"


def test_arguments_are_passed_on():
    """`call` hands its arguments to the function, plain or not."""

    async def add(a, b):
        await sleep(1)
        return a + b

    assert play(Retry(), add, 1, 2)[0].value == 3
    assert play(Retry(), max, 1, 2)[0].value == 2


def test_policies_nest():
    """A retry around a retry takes the inner one's giving up as one failure."""
    flaky = Flaky(*down(3))

    async def main():
        return await Retry(attempts=2).call(inner)

    async def inner():
        return await Retry(attempts=2).call(flaky)

    assert Simulation().run(main).value == "worked"


# -- wrong policies --


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attempts": 0}, "attempts=0 must be 1 or more"),
        ({"attempts": 2.5}, "attempts=2.5 must be"),
        ({"attempts": True}, "attempts=True must be"),
        ({"backoff": "linear"}, "backoff='linear' is unknown; allowed: fixed, exponential"),
        ({"jitter": "some"}, "jitter='some' is unknown; allowed: none, full, equal, decorrelated"),
        ({"factor": 0.5}, "factor=0.5 must be 1 or more"),
        ({"factor": float("nan")}, "factor=nan must be"),
        ({"delay": "2s", "max_delay": "1s"}, "max_delay='1s' is shorter than delay='2s'"),
        ({"backoff": "fixed", "jitter": "decorrelated"}, "contradicts"),
        ({"retry_on": "ConnectionError"}, "retry_on='ConnectionError' must be an Exception type"),
        ({"retry_on": []}, "retry_on=[] must be"),
        ({"retry_on": asyncio.CancelledError}, "must be an Exception type"),
        ({"retry_on": [ValueError, 3]}, "must be an Exception type"),
    ],
)
def test_wrong_policies_are_refused(options, message):
    """A policy that cannot work is refused when it is made, with the field and what is allowed."""
    with pytest.raises(DesignError) as caught:
        Retry(**options)
    assert message in str(caught.value)


def test_wrong_durations_are_refused():
    """A delay must be a duration."""
    with pytest.raises(DurationError, match="'100' has no unit"):
        Retry(delay="100")


def test_decorating_a_value_is_refused():
    """`Retry()(fetch())` is a slip; the message shows what was meant."""
    with pytest.raises(DesignError, match=r"await Retry\(\)\.call\(fn\)"):
        Retry()(3)


def test_description_holds_all_that_a_checker_needs():
    """`describe` is plain data: attempts, the waits in nanoseconds, and what is retried."""
    assert Retry(
        attempts=2, delay="1s", factor=3, jitter="equal", retry_on=[OSError, DesignError]
    ).describe() == {
        "attempts": 2,
        "backoff": "exponential",
        "delay_ns": 1000 * MS,
        "factor": 3,
        "max_delay_ns": 60_000 * MS,
        "jitter": "equal",
        "retry_on": ["OSError", "wfsim.errors.DesignError"],
    }
    described = Retry(backoff="fixed", retry_on=lambda _: True).describe()
    assert described == {
        "attempts": 3,
        "backoff": "fixed",
        "delay_ns": 100 * MS,
        "retry_on": {"predicate": "<lambda>"},
    }
