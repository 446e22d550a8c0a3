"""Experiments: instances as processes, faults, healing, settling, and what the seeds say together."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.checkers import Verdict, effect_at_most_once
from wfsim.errors import ProcessCrashed
from wfsim.harness import (
    Expectation,
    Experiment,
    Workload,
    breaks,
    effect_count,
    holds,
    outcome,
    run,
    run_all,
)
from wfsim.kernel import Bounds, constant, effect, fault_point, now
from wfsim.nemesis import crash, fail, hang
from wfsim.units import NS_PER_SECOND


async def order(number=1):
    await fault_point("call", name="charge")
    effect("charged", number)
    await asyncio.sleep(1)
    await fault_point("call", name="ship")
    return number


def orders(**options):
    workload = Workload(3, constant("10s"), lambda i: i)
    return Experiment("orders", order, **{"workload": workload, **options})


def verdict(valid):
    """Make a checker that finds this."""

    def checker(_history):
        return Verdict("given", valid, "as told", ())

    return checker


def by_seed(**valid):
    """Make a checker that judges the run of seed n by ``s{n}``."""

    def checker(run):
        return Verdict("by seed", valid[f"s{run.seed}"], "as told", ())

    checker.judges_run = True
    return checker


def test_every_instance_is_recorded_from_arrival_to_end():
    """The history holds an operation of kind "instance" for each, with its time."""
    spans = [span for span in run(orders()).run.history.spans() if span.kind == "instance"]
    told = [
        (span.name, span.design, span.process, span.start_ns // NS_PER_SECOND, span.outcome) for span in spans
    ]
    assert told == [(f"order-{i}", "order", f"order-{i}", (i - 1) * 10, "ok") for i in (1, 2, 3)]
    assert {span.duration_ns for span in spans} == {NS_PER_SECOND}


def test_the_values_of_all_instances_are_the_value_of_the_run():
    """One instance gives its value, several give a list in order of arrival."""
    assert run(orders()).run.value == [1, 2, 3]
    assert run(orders(workload=Workload(inputs=lambda i: i))).run.value == 1


def test_an_instance_that_fails_does_not_stop_the_others():
    """The run's error is that of the first instance that failed; all the others ended well."""
    done = run(orders(faults=(fail("charge", error=ConnectionError("down"), process="order-2"),))).run
    assert (done.outcome, type(done.error)) == ("error", ConnectionError)
    assert [span.outcome for span in done.history.spans() if span.kind == "instance"] == ["ok", "fail", "ok"]


def test_a_crashed_instance_is_unknown_to_itself():
    """A crash without restart ends the run as "crashed"; the instance's outcome is info."""
    done = run(orders(faults=(crash("ship", process="order-2"),))).run
    assert (done.outcome, type(done.error)) == ("crashed", ProcessCrashed)
    assert [span.outcome for span in done.history.spans() if span.kind == "instance"] == ["ok", "info", "ok"]


def test_a_restarted_instance_is_one_instance():
    """An instance that crashed and began anew counts from its arrival to its last end."""
    done = run(orders(faults=(crash("ship", restart_after="5s", process="order-1", count=1),))).run
    first = next(span for span in done.history.spans() if span.kind == "instance")
    assert (done.outcome, first.outcome, first.duration_ns) == ("ok", "ok", 7 * NS_PER_SECOND)
    assert len(done.history.where(kind="effect", process="order-1")) == 2


def test_an_instance_that_hangs_is_a_deadlock():
    """Nothing can end the wait: the run ends at once and says where."""
    done = run(orders(workload=Workload(), faults=(hang("ship"),))).run
    assert done.outcome == "deadlock"
    assert "order-1" in {waiting.process for waiting in done.waiting}
    assert [span.outcome for span in done.history.spans() if span.kind == "instance"] == [None]


def test_faults_stop_after_heal_after():
    """After that time nothing strikes, and a design that never gives up gets through."""

    async def stubborn():
        while True:
            try:
                await fault_point("call", name="charge")
            except ConnectionError:
                await asyncio.sleep(1)
            else:
                return now()

    always = (fail("charge", error=ConnectionError("down")),)
    bounds = Bounds(time_ns=120 * NS_PER_SECOND)
    healed = Experiment("stubborn", stubborn, faults=always, heal_after_ns=60 * NS_PER_SECOND, bounds=bounds)
    done = run(healed).run
    assert done.value == pytest.approx(60, abs=1)


def test_what_is_left_running_gets_time_to_settle():
    """A task that outlives its instance is waited for, so its effect is judged too."""

    async def forgetful():
        asyncio.get_running_loop().create_task(later(), name="later")

    async def later():
        await asyncio.sleep(3)
        effect("sent")

    expected = (holds(effect_count, name="sent", exactly=1),)
    assert run(Experiment("forgetful", forgetful, expectations=expected)).passed
    hasty = run(Experiment("forgetful", forgetful, expectations=expected, settle_ns=NS_PER_SECOND))
    assert not hasty.passed
    assert hasty.run.duration == 1.0


def test_nothing_strikes_while_things_settle():
    """When all instances have ended the faults stop: what is left running meets none."""

    async def forgetful():
        asyncio.get_running_loop().create_task(later())

    async def later():
        await asyncio.sleep(3)
        await fault_point("call", name="send")
        effect("sent")

    done = run(Experiment("forgetful", forgetful, faults=(fail("send"),)))
    assert len(done.run.history.where(kind="effect")) == 1


def test_an_instance_that_cancels_itself_ends_only_itself():
    """Cancellation is an outcome of one instance; the others go on."""

    async def quitter(number):
        if number == 1:
            asyncio.current_task().cancel()
        await asyncio.sleep(1)

    done = run(Experiment("quitter", quitter, Workload(2, inputs=lambda i: i))).run
    assert (done.outcome, type(done.error)) == ("error", asyncio.CancelledError)
    assert [span.outcome for span in done.history.spans() if span.kind == "instance"] == ["info", "ok"]


def test_nothing_left_means_no_time_passes():
    """Settling costs no virtual time when there is nothing to wait for."""
    assert run(orders(workload=Workload())).run.duration == 1.0


def test_bounds_hold_for_each_run():
    """An experiment that takes too long ends with the bound's outcome."""
    assert run(orders(bounds=Bounds(time_ns=15 * NS_PER_SECOND))).run.outcome == "max_time"


def test_the_seeds_are_those_of_the_experiment():
    """Run takes the first seed, run_all all of them, or those it is given; on_run sees each."""
    seen = []
    experiment = orders(seeds=(5, 6))
    assert run(experiment).seed == 5
    assert [one.seed for one in run_all(experiment, on_run=seen.append).runs] == [5, 6]
    assert [one.seed for one in seen] == [5, 6]
    assert [one.seed for one in run_all(experiment, [9]).runs] == [9]


@pytest.mark.parametrize(
    ("valid", "holding", "breaking"),
    [(True, True, False), (False, False, True), ("unknown", "unknown", "unknown")],
)
def test_one_run_meets_an_expectation_only_by_showing_it(valid, holding, breaking):
    """What must hold needs True, what must break needs False; "unknown" is enough for neither."""
    checker = verdict(valid)
    done = run(orders(expectations=(holds(checker), breaks(checker))))
    assert [judgement.met for judgement in done.judgements] == [holding, breaking]
    assert done.verdicts[0].valid is valid
    assert done.passed is False


@pytest.mark.parametrize(
    ("first", "second", "holding", "breaking"),
    [
        (True, True, True, False),
        (True, False, False, True),
        (True, "unknown", True, False),
        (False, "unknown", False, True),
        ("unknown", "unknown", "unknown", "unknown"),
    ],
)
def test_seeds_are_judged_together(first, second, holding, breaking):
    """One violation is enough to contradict "holds" and to show "breaks"; nothing to judge shows nothing."""
    checker = by_seed(s1=first, s2=second)
    result = run_all(orders(seeds=(1, 2), expectations=(holds(checker), breaks(checker))))
    assert [expectation.met for expectation in result.expectations] == [holding, breaking]
    assert not result.passed


def test_an_experiment_without_expectations_passes():
    """Used as a simulation tool it has nothing to fail."""
    assert run_all(orders()).passed


def test_the_telling_run_is_the_one_that_decides():
    """First a run that fails an expectation, else one that shows a break, else one that a fault struck."""
    failing = by_seed(s1=True, s2=True, s3=False)
    seeds = (1, 2, 3)
    assert run_all(orders(seeds=seeds, expectations=(holds(failing),))).telling.seed == 3
    assert run_all(orders(seeds=seeds, expectations=(breaks(failing),))).telling.seed == 3
    assert run_all(orders(seeds=seeds)).telling.seed == 1
    rare = (fail("charge", probability=0.2),)
    result = run_all(orders(seeds=tuple(range(20)), faults=rare))
    assert result.telling.run.history.where(kind="fault")


def test_a_rule_that_meets_nothing_in_any_run_is_told():
    """A misspelt step is found by running."""
    result = run_all(orders(seeds=(1, 2), faults=(fail("chrge"), fail("charge", attempts=7))))
    assert [rule.step for rule in result.unmatched] == ["chrge"]


def test_an_expectation_reads_as_in_a_scenario():
    """Its text shows the checker, its options, and durations as durations."""
    assert str(holds(effect_at_most_once, name="charged")) == "effect_at_most_once(name=charged)"
    assert str(holds(outcome)) == "outcome"
    assert str(Expectation("completes_within", outcome, {"duration_ns": 2 * NS_PER_SECOND})) == (
        "completes_within(duration=2s)"
    )


def test_a_design_that_exits_has_failed():
    """sys.exit in a design ends neither the runs after it nor the program, with an exit code of its own."""

    async def leaves():
        raise SystemExit(0)

    result = run_all(Experiment("x", leaves, seeds=(1, 2)))
    assert [one.run.outcome for one in result.runs] == ["error", "error"]
    assert str(result.runs[0].run.error) == "the design ended its program by sys.exit(0)"
