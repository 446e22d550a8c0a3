"""Checkers of DAGs against planted bugs: each is found and named, and right histories pass."""

from __future__ import annotations

import pytest

from wfsim.checkers import (
    completed,
    dependencies_respected,
    every_task_decided,
    failures_surface,
    no_task_repeated,
    parallelism_respected,
    retried_as_policy,
    skipped_as_ruled,
    torn_down,
)
from wfsim.history import Recorder

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def dag(edges, *events, end="ok", crash=False, **told):
    """A DAG run: "+a" begins task a, "-a" ends it well, "!a" fails it, "?a" skips it, "^a" makes it upstream_failed."""
    recorder = Recorder(lambda: 0)
    whole = recorder.invoke("dag", "build", "build", "main", data={"tasks": edges, **told})
    running, tries = {}, {}
    for event in events:
        name = event[1:]
        if event[0] == "+":
            tries[name] = tries.get(name, 0) + 1
            running[name] = recorder.invoke("task", "build", name, "main", tries[name], whole)
        elif event[0] in "?^":
            state = "skipped" if event[0] == "?" else "upstream_failed"
            recorder.event("skip", "build", name, "main", 0, whole, None, {"state": state})
        elif event[0] == "*":
            recorder.event("expand", "build", name[:-1], "main", 0, whole, None, {"count": int(name[-1])})
        else:
            recorder.complete("ok" if event[0] == "-" else "fail", running[name])
    if crash:
        recorder.event("process", "", "crash", "main")
    if end:
        recorder.complete(end, whole)
    return recorder.history()


def says(verdict):
    assert verdict.valid is False, verdict
    assert verdict.ops
    return verdict.message


# -- rules --

JOIN = {"a": [], "b": [], "join": ["a", "b"]}


@pytest.mark.parametrize(
    ("rule", "events", "right"),
    [
        ("all_success", "+a -a +b -b +join -join", True),
        ("all_success", "+a -a +b !b +join -join", False),
        ("all_success", "+a -a ?b +join -join", False),
        ("all_failed", "+a !a ^b +join -join", True),
        ("all_failed", "+a !a +b -b +join -join", False),
        ("all_done", "+a !a ?b +join -join", True),
        ("all_done", "+a !a +join -join +b -b", False),
        ("all_skipped", "?a ?b +join -join", True),
        ("all_skipped", "?a +b -b +join -join", False),
        ("one_success", "+a +b -b +join -join -a", True),
        ("one_success", "+a !a +b +join -join -b", False),
        ("one_failed", "+a +b !b +join -join -a", True),
        ("one_failed", "+a -a +b +join !b -join", False),
        ("one_done", "+a +b !b +join -join -a", True),
        ("one_done", "?a +b +join -join -b", False),
        ("none_failed", "+a -a ?b +join -join", True),
        ("none_failed", "+a -a +b !b +join -join", False),
        ("none_failed_min_one_success", "+a -a ?b +join -join", True),
        ("none_failed_min_one_success", "?a ?b +join -join", False),
        ("none_skipped", "+a !a +b -b +join -join", True),
        ("none_skipped", "+a -a ?b +join -join", False),
        ("all_done_min_one_success", "+a !a +b -b +join -join", True),
        ("all_done_min_one_success", "+a !a +b !b +join -join", False),
        ("always", "+join -join +a -a +b -b", True),
    ],
)
def test_each_rule_is_judged_by_what_had_ended(rule, events, right):
    """A task may start only when what it depends on has ended as its rule wants it."""
    verdict = dependencies_respected(dag(JOIN, *events.split(), trigger_rules={"join": rule}))
    assert verdict.valid is right, verdict
    if not right and rule != "all_success":
        assert f"'join' started, though its rule is {rule} and a " in verdict.message


def test_a_teardown_may_start_only_if_its_setup_succeeded():
    """all_done_setup_success asks for a setup that succeeded."""
    edges, told = (
        {"up": [], "down": ["up"]},
        {"trigger_rules": {"down": "all_done_setup_success"}, "setups": ["up"]},
    )
    assert dependencies_respected(dag(edges, "+up", "-up", "+down", "-down", **told)).valid is True
    assert says(dependencies_respected(dag(edges, "+up", "!up", "+down", "-down", **told)))


def test_the_calls_of_a_mapped_task_are_all_waited_for():
    """A task after a mapped one that starts before the last call has ended is found."""
    edges, over = {"list": [], "each": ["list"], "sum": ["each"]}, {"over": {"each": "list"}}
    calls = ["+list", "-list", "*each2", "+each[0]", "+each[1]", "-each[0]"]
    assert dependencies_respected(dag(edges, *calls, "-each[1]", "+sum", "-sum", **over)).valid is True
    assert "'sum' started before 'each'" in says(
        dependencies_respected(dag(edges, *calls, "+sum", "-each[1]", **over))
    )
    early = dag(edges, *calls[:4], "-each[0]", "+sum", **over)
    assert "'sum' started although 'each'" in says(dependencies_respected(early))


def test_a_task_left_out_against_its_rule_is_found():
    """A join that wants no failure is left out after a skip, as all_success would have it."""
    told = {"trigger_rules": {"join": "none_failed"}}
    verdict = skipped_as_ruled(dag(JOIN, "+a", "-a", "?b", "?join", **told))
    assert (
        says(verdict)
        == "dag build: 'join' was left out, though its rule is none_failed and a succeeded, b was skipped"
    )
    assert skipped_as_ruled(dag(JOIN, "+a", "-a", "?b", "?join")).valid is True
    assert skipped_as_ruled(dag(JOIN, "+a", "-a", "+b", "-b", "+join", "-join")).valid == "unknown"


@pytest.mark.parametrize(
    "told", [{"fail_fast": True}, {"cancel_unneeded": True}, {"branches": ["a"]}, {"setups": ["a"]}]
)
def test_there_are_other_reasons_to_leave_a_task_out(told):
    """What a branch did not choose, or was stopped, is not judged by its rule."""
    assert skipped_as_ruled(dag(JOIN, "+a", "-a", "+b", "-b", "?join", **told)).valid is True


# -- ends --


def test_a_task_that_waits_for_a_skipped_one_is_found():
    """A scheduler that tells nobody of a skip: the join is neither run nor skipped."""
    history = dag(JOIN, "+a", "-a", "?b", end=None)
    assert says(every_task_decided(history)) == (
        "dag build: 'join' was neither run nor skipped; it waits for 'b', which was skipped"
    )
    assert completed(history).valid is False
    assert every_task_decided(dag(JOIN, "+a", "-a", "?b", "?join")).valid is True


def test_a_task_that_is_forgotten_is_found():
    """A task after a failure that is simply never spoken of again."""
    assert says(every_task_decided(dag(DIAMOND, "+a", "-a", "+b", "!b", "+c", "-c", end="fail")))


def test_who_waits_for_what_hangs_is_not_to_blame():
    """A task that has begun and never ended is another matter, and so is a crash."""
    assert every_task_decided(dag(DIAMOND, "+a", "-a", "+b", "+c", "-c", end=None)).valid is True
    assert every_task_decided(dag(DIAMOND, "+a", "-a", end=None, crash=True)).valid == "unknown"


def test_a_swallowed_failure_is_found():
    """A run that calls itself successful after a failure which only a clean-up saw."""
    edges, told = {"load": [], "clean": ["load"]}, {"trigger_rules": {"clean": "all_done"}}
    verdict = failures_surface(dag(edges, "+load", "!load", "+clean", "-clean", **told))
    assert says(verdict) == (
        "dag build reported success although 'load' failed: 'clean' ran after it by its rule all_done"
    )
    assert (
        failures_surface(dag(edges, "+load", "!load", "+clean", "-clean", end="fail", **told)).valid is True
    )
    assert failures_surface(dag(edges, "+load", "-load", "+clean", "-clean", **told)).valid == "unknown"


def test_a_swallowed_failure_is_found_behind_what_could_not_run():
    """The clean-up may stand further down."""
    edges, told = {"a": [], "b": ["a"], "c": ["b"]}, {"trigger_rules": {"c": "all_done"}}
    assert "'c' ran after it" in says(failures_surface(dag(edges, "+a", "!a", "^b", "+c", "-c", **told)))


@pytest.mark.parametrize("rule", ["one_failed", "all_failed", "one_success", "one_done"])
def test_a_failure_that_is_dealt_with_is_none(rule):
    """A task whose rule expects failures has seen to it."""
    told = {"trigger_rules": {"join": rule}}
    assert failures_surface(dag(JOIN, "+a", "!a", "+b", "-b", "+join", "-join", **told)).valid is True


def test_a_failed_teardown_is_told_only_if_it_counts():
    """A teardown that failed does not fail the DAG unless it said so."""
    edges = {"up": [], "down": ["up"]}
    events = ("+up", "-up", "+down", "!down")
    assert failures_surface(dag(edges, *events, teardowns={"down": {"of": ["up"]}})).valid == "unknown"
    assert says(failures_surface(dag(edges, *events, teardowns={"down": {"of": ["up"], "fails_dag": True}})))


# -- teardowns --

CLUSTER = {"up": [], "work": ["up"], "down": ["up", "work"]}
TEARDOWN = {"teardowns": {"down": {"of": ["up"]}}, "setups": ["up"]}


def test_a_missing_teardown_is_found():
    """What was set up was never taken down."""
    verdict = torn_down(dag(CLUSTER, "+up", "-up", "+work", "!work", "?down", end="fail", **TEARDOWN))
    assert says(verdict) == "dag build: 'down' never took down what 'up' had set up"
    crashed = dag(CLUSTER, "+up", "-up", "+work", end=None, crash=True, **TEARDOWN)
    assert "because process 'main' crashed" in says(torn_down(crashed))


def test_a_teardown_that_comes_too_early_is_found():
    """It took down what something still lived on."""
    verdict = torn_down(dag(CLUSTER, "+up", "-up", "+work", "+down", "-down", "-work", **TEARDOWN))
    assert "'down' began before 'work' had ended, which lives on 'up'" in says(verdict)


def test_a_second_teardown_is_found():
    """It took down twice."""
    events = ("+up", "-up", "+work", "-work", "+down", "-down", "+down", "-down")
    assert "'down' took down twice what 'up' had set up" in says(torn_down(dag(CLUSTER, *events, **TEARDOWN)))


def test_a_teardown_in_time_is_right():
    """After a success and after a failure; where nothing was set up there is nothing to judge."""
    assert torn_down(dag(CLUSTER, "+up", "-up", "+work", "!work", "+down", "-down", **TEARDOWN)).valid is True
    assert torn_down(dag(CLUSTER, "+up", "!up", "^work", "^down", **TEARDOWN)).valid == "unknown"


# -- limits and repetitions --


def test_one_too_many_at_work_is_found():
    """More tries in flight than max_parallel, or than the limit that is asked for."""
    edges = {"a": [], "b": [], "c": []}
    history = dag(edges, "+a", "+b", "-a", "+c", "-b", "-c", max_parallel=2)
    assert parallelism_respected(history).valid is True
    assert parallelism_respected(history, limit=1, tasks=["a", "c"]).valid is True
    message = says(parallelism_respected(history, limit=1, tasks=["b", "c"]))
    assert message == "b and c: 2 were at work at once, 1 are allowed: b, c"
    assert "3 were at work at once" in says(
        parallelism_respected(dag(edges, "+a", "+b", "+c", max_parallel=2))
    )
    assert parallelism_respected(dag(edges, "+a", "-a")).valid == "unknown"


def test_a_task_run_again_after_it_had_succeeded_is_found():
    """Within a run, and in a run that resumed from an earlier one."""
    edges = {"a": [], "b": ["a"]}
    assert "'a' was run again after it had succeeded" in says(
        no_task_repeated(dag(edges, "+a", "-a", "+a", "-a"))
    )
    kept = {"kept": {"a": "success"}}
    assert "in the run before" in says(no_task_repeated(dag(edges, "+a", "-a", "+b", "-b", **kept)))
    assert no_task_repeated(dag(edges, "+b", "-b", **kept)).valid is True
    assert dependencies_respected(dag(edges, "+b", "-b", **kept)).valid is True
    assert no_task_repeated(dag(edges, "+a", "!a", "+a", "-a", "+b", "-b")).valid is True


def test_the_calls_of_a_mapped_task_follow_its_policy():
    """The policy of a mapped task is that of each of its calls."""
    told = {"retry": {"each": {"attempts": 2}}, "over": {"each": "list"}}
    edges = {"list": [], "each": ["list"]}
    events = ("+list", "-list", "*each1", "+each[0]", "!each[0]", "+each[0]", "!each[0]")
    assert retried_as_policy(dag(edges, *events, **told)).valid is True
    assert says(retried_as_policy(dag(edges, *events, "+each[0]", "-each[0]", **told)))
