"""What is said of a workload as a whole: rates, counts, times, outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.harness import (
    completes_within,
    effect_count,
    effect_undone,
    op_count,
    outcome,
    simulate,
    success_rate,
)
from wfsim.history import History, Recorder
from wfsim.units import NS_PER_SECOND

ENDS = ("ok", "fail", "info", None)


def history_of(*instances):
    """Write a history of instances, each (outcome, seconds) and started at zero."""
    clock = [0]
    recorder = Recorder(lambda: clock[0])
    invokes = [
        recorder.invoke("instance", "shop", f"shop-{i}", f"shop-{i}", 0) for i, _ in enumerate(instances, 1)
    ]
    for invoke, (end, seconds) in sorted(zip(invokes, instances, strict=True), key=lambda pair: pair[1][1]):
        clock[0] = seconds * NS_PER_SECOND
        if end is not None:
            recorder.complete(end, invoke)
    return recorder.history()


def effects(*told):
    """Write a history of effects, each (name, key)."""
    recorder = Recorder(lambda: 0)
    for name, key in told:
        recorder.event("effect", "", name, "main", data={"key": key})
    return recorder.history()


def test_only_instances_that_returned_succeeded():
    """Failed, crashed and hanging instances lower the rate, and are named."""
    verdict = success_rate(history_of(*((end, 1) for end in ENDS)), at_least=0.5)
    assert verdict.valid is False
    assert verdict.message == (
        "1 of 4 instances succeeded (25%); not shop-2, shop-3, shop-4, expected at least 50%"
    )
    assert verdict.ops == (1, 2, 3)


def test_a_rate_may_be_bounded_from_both_sides():
    """``at_most`` is for designs that must shed load."""
    half = history_of(("ok", 1), ("fail", 1))
    assert success_rate(half, at_least=0.5).valid is True
    assert success_rate(half, at_least=0, at_most=0.4).valid is False
    assert success_rate(half, at_least=0, at_most=0.5).valid is True
    assert success_rate(half).valid is False


@settings(deadline=None)
@given(st.lists(st.sampled_from(ENDS), min_size=1, max_size=30))
def test_the_exact_rate_is_within_its_own_bounds(ends):
    """Rounding never makes a rate miss a bound that it equals."""
    rate = ends.count("ok") / len(ends)
    assert success_rate(history_of(*((end, 1) for end in ends)), at_least=rate, at_most=rate).valid is True


@pytest.mark.parametrize(("limit", "percentile", "valid"), [(9, 100, False), (10, 100, True), (9, 90, True)])
def test_completes_within_is_about_the_slowest_or_a_percentile(limit, percentile, valid):
    """With ten instances of 1 to 10 seconds the slowest needs 10, nine in ten need 9."""
    history = history_of(*(("ok", seconds) for seconds in range(1, 11)))
    verdict = completes_within(history, duration_ns=limit * NS_PER_SECOND, percentile=percentile)
    assert verdict.valid is valid
    assert verdict.message.startswith("shop-10, the slowest of 10, took 10s")


def test_an_instance_that_failed_in_time_completed():
    """Completing is about time; success is another expectation."""
    assert completes_within(history_of(("fail", 1)), duration_ns=NS_PER_SECOND).valid is True


def test_an_instance_that_never_ended_is_late():
    """No limit is long enough for what hangs."""
    verdict = completes_within(history_of((None, 0)), duration_ns=10**18)
    assert verdict.valid is False
    assert "shop-1, the slowest of 1, never ended" in verdict.message


def test_without_instances_nothing_is_known():
    """Nothing to judge is "unknown", never passed."""
    assert success_rate(History()).valid == "unknown"
    assert completes_within(History(), duration_ns=1).valid == "unknown"


@pytest.mark.parametrize(
    ("bounds", "valid"),
    [
        ({}, True),
        ({"exactly": 2}, True),
        ({"exactly": 1}, False),
        ({"at_least": 3}, False),
        ({"at_most": 1}, False),
        ({"at_least": 1, "at_most": 2}, True),
    ],
)
def test_effects_are_counted_by_name(bounds, valid):
    """Two charges are two; another effect is not counted."""
    verdict = effect_count(effects(("charge", 1), ("charge", 2), ("ship", 1)), name="charge", **bounds)
    assert verdict.valid is valid
    assert verdict.message.startswith("effect charge: 2")


def test_no_effect_at_all_misses_the_default_bound():
    """Without bounds an effect must have happened at least once."""
    verdict = effect_count(History(), name="charge")
    assert (verdict.valid, verdict.message) == (False, "effect charge: 0, expected at least 1")


def test_operations_are_counted_by_any_field():
    """op_count filters by kind, type, name and process."""
    history = history_of(("ok", 1), ("fail", 2))
    assert op_count(history, kind="instance", type="invoke", exactly=2).valid is True
    assert op_count(history, process="shop-1", exactly=2).valid is True
    assert op_count(history, kind="compensate").valid is False


def test_each_effect_must_be_undone_for_its_own_key():
    """An undoing counts for one effect of its key that came before it."""
    done, undone = "book", "cancel"
    cases = [
        ([(done, 1), (undone, 1)], True),
        ([(done, 1), (undone, 2)], False),
        ([(undone, 1), (done, 1)], False),
        ([(done, 1), (done, 1), (undone, 1)], False),
        ([(done, 1), (undone, 1), (done, 1), (undone, 1)], True),
        ([(undone, 1)], "unknown"),
    ]
    assert [effect_undone(effects(*told), name=done, by=undone).valid for told, _ in cases] == [
        valid for _, valid in cases
    ]


def test_what_is_left_behind_is_named():
    """The message says whose effect stays in the world."""
    verdict = effect_undone(effects(("book", "order-7")), name="book", by="cancel")
    assert verdict.message == "effect book: 0 of 1 undone by cancel; left behind: order-7"
    assert verdict.ops == (0,)


def test_the_outcome_of_a_run_and_its_error():
    """An error is named by its class or a base of it."""

    async def broken():
        raise ConnectionRefusedError("busy")

    run = simulate(broken)
    assert outcome(run, expected="error").valid is True
    assert outcome(run, expected="error", error="ConnectionError").valid is True
    assert outcome(run, expected="error", error="KeyError").valid is False
    verdict = outcome(run)
    assert verdict.valid is False
    assert verdict.message == "the run ended with outcome error (ConnectionRefusedError: busy), expected ok"
