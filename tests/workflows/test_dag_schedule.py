"""The critical path, slack, and how long a run takes when slots are scarce."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.errors import DesignError
from wfsim.kernel import Simulation, exponential, sleep, uniform
from wfsim.workflows import DAGWorkflow, Task

DURATIONS = {"a": 1, "b": 2, "c": "5s", "d": 1}


def diamond(**options):
    dag = DAGWorkflow([Task("a", run=lambda: 0)], **options)
    dag.add_task("b", run=lambda: 0, depends_on=["a"]).add_task("c", run=lambda: 0, depends_on=["a"])
    return dag.add_task("d", run=lambda: 0, depends_on=["b", "c"])


def test_the_critical_path_of_a_diamond():
    """The longest way through; the other one has slack."""
    schedule = diamond().schedule(DURATIONS)
    assert schedule.makespan == 7
    assert schedule.critical_path == ("a", "c", "d")
    assert schedule.start == {"a": 0, "b": 1, "c": 1, "d": 6}
    assert schedule.slack == {"a": 0, "b": 3, "c": 0, "d": 0}


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sets(st.integers(0, 30), max_size=3)), min_size=1, max_size=9)
)
def test_the_critical_path_is_the_length_of_the_run(plan):
    """With slots for all, a run of fixed durations takes exactly the makespan; slack is what is left over.

    Starting a task later by its slack leaves the end where it was; by a second more, moves it by a second.
    """
    names = [f"t{n}" for n in range(len(plan))]
    dag = DAGWorkflow()
    for number, (seconds, ups) in enumerate(plan):
        needs = sorted({up % number for up in ups}) if number else []
        dag.add_task(names[number], run=waits(seconds), depends_on=[names[up] for up in needs])
    durations = {name: seconds for name, (seconds, _) in zip(names, plan, strict=True)}
    schedule = dag.schedule(durations)
    assert Simulation().run(dag.run).duration_ns == round(schedule.makespan * 1e9)
    assert sum(durations[name] for name in schedule.critical_path) == schedule.makespan
    for name in names:
        slower = durations | {name: durations[name] + schedule.slack[name]}
        assert dag.schedule(slower).makespan == schedule.makespan
        slower[name] += 1
        assert dag.schedule(slower).makespan == schedule.makespan + 1


def waits(seconds):
    async def work(*_results):
        await sleep(seconds)

    return work


def test_scarce_slots_make_the_run_longer():
    """With one slot the makespan is the sum of all durations, whatever the critical path."""
    makespan = diamond(max_parallel=1).expected_makespan(DURATIONS, runs=2)
    assert makespan.samples == (9.0, 9.0)
    assert makespan.mean == 9
    assert diamond().expected_makespan(DURATIONS, runs=1).mean == 7


def test_the_mean_of_a_maximum_is_found_by_simulation():
    """Of two parallel exponential tasks the slower takes 1.5 means (the sum of 1 and 1/2), not one."""
    dag = DAGWorkflow([Task("a", run=lambda: 0), Task("b", run=lambda: 0)])
    makespan = dag.expected_makespan(exponential("10s"), runs=1500)
    low, high = makespan.confidence
    assert low < 15 < high
    assert high - low < 1.5
    assert makespan.percentile(50) < makespan.mean < makespan.percentile(95)
    assert dag.schedule(exponential("10s")).makespan == pytest.approx(10, rel=0.15)


def test_the_expectation_is_the_seeds_alone():
    """Equal seeds give equal samples, other seeds others."""
    dag = diamond(max_parallel=1)
    durations = DURATIONS | {"b": uniform("1s", "9s")}
    first = dag.expected_makespan(durations, runs=20)
    assert dag.expected_makespan(durations, runs=20).samples == first.samples
    assert dag.expected_makespan(durations, runs=20, seed=99).samples != first.samples


def test_one_sample_tells_nothing_of_its_error():
    """The confidence interval of a single run has no bounds."""
    assert diamond().expected_makespan(1, runs=1).confidence == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda dag: dag.schedule({"a": 1, "b": 1, "c": 1, "dd": 1}), "no such task; did you mean 'd'?"),
        (lambda dag: dag.schedule({"a": 1, "b": 1}), "needs a duration for c, d too"),
        (lambda dag: dag.schedule("soon"), "'soon'"),
        (lambda dag: dag.expected_makespan(1, runs=0), "runs=0 must be 1 or more"),
        (lambda dag: dag.expected_makespan(1, runs=1).percentile(0), "above 0 and up to 100"),
    ],
)
def test_wrong_questions_are_refused(ask, message):
    """What cannot be answered says what is missing."""
    with pytest.raises(DesignError) as caught:
        ask(diamond())
    assert message in str(caught.value)
