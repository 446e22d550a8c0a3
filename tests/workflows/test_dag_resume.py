"""Running a DAG again from the failed tasks on."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.checkers import dependencies_respected, effect_at_most_once, no_task_repeated
from wfsim.errors import DesignError
from wfsim.kernel import Simulation, effect, sleep
from wfsim.nemesis import Rules, fail
from wfsim.workflows import DAGResult, DAGWorkflow, Task


def does(name):
    async def work(*_results):
        await sleep(1)
        effect(name, "run-1")
        return name

    return work


def etl():
    dag = DAGWorkflow(name="etl")
    dag.add_task("extract", run=does("extract"))
    dag.add_task("clean", run=does("clean"), depends_on=["extract"])
    dag.add_task("enrich", run=does("enrich"), depends_on=["extract"])
    dag.add_task("load", run=lambda clean, enrich: f"{clean}+{enrich}", depends_on=["clean", "enrich"])
    return dag


def twice(dag, faults, **second):
    """Run with faults, then again from what failed; both runs stand in one history."""
    rules = Rules(faults)
    simulation = Simulation(nemesis=rules)

    async def main():
        first = await dag.settle()
        rules.heal()
        return first, await dag.settle(resume=first, **second)

    outcome = simulation.run(main)
    if outcome.error is not None:
        raise outcome.error
    history = simulation.recorder.history()
    for check in (dependencies_respected, no_task_repeated):
        assert check(history).valid is not False, check(history).message
    return *outcome.value, history


def test_only_what_did_not_succeed_runs_again():
    """The tasks that succeeded keep their results; the failed one and all after it run."""
    first, second, history = twice(etl(), [fail("enrich")])
    assert first.states == {
        "extract": "success",
        "clean": "success",
        "enrich": "failed",
        "load": "upstream_failed",
    }
    assert second == {"extract": "extract", "clean": "clean", "enrich": "enrich", "load": "clean+enrich"}
    again = [op.name for op in history.where(kind="task", type="invoke")][3:]
    assert again == ["enrich", "load"]
    assert effect_at_most_once(history).valid is True
    assert history.where(kind="dag", type="invoke")[1].data["kept"] == {
        "extract": "success",
        "clean": "success",
    }


def test_what_comes_after_a_repeated_task_is_repeated_although_it_ran():
    """A clean-up that ran after the failure runs again after the repetition."""
    dag = etl().add_task("cleanup", run=does("cleanup"), depends_on=["enrich"], trigger_rule="all_done")
    first, second, history = twice(dag, [fail("enrich")])
    assert first.states["cleanup"] == "success"
    assert len(history.where(kind="task", name="cleanup", type="invoke")) == 2
    assert second.ok


def test_setups_are_repeated_with_the_work_that_lives_on_them():
    """What the first run has taken down is set up again, and taken down again."""
    dag = DAGWorkflow().add_task("create", run=does("create"))
    dag.add_task("work", run=does("work"), depends_on=["create"])
    dag.add_task("delete", run=does("delete"), depends_on=["work"], teardown_of=["create"])
    dag.add_task("other", run=does("other"))
    _, second, history = twice(dag, [fail("work")])
    assert second.ok
    names = [op.name for op in history.where(kind="task", type="invoke")]
    assert names == ["create", "other", "work", "delete", "create", "work", "delete"]


def test_a_branch_that_is_kept_has_chosen_for_good():
    """The choice of the first run holds in the second."""
    dag = DAGWorkflow().add_task("pick", run=lambda: "left", branch=True)
    dag.add_task("left", run=does("left"), depends_on=["pick"])
    dag.add_task("other", run=does("other"))
    dag.add_task("right", run=does("right"), depends_on=["pick", "other"], trigger_rule="one_success")
    _, second, _ = twice(dag, [fail("left"), fail("other")])
    assert second.states == {"pick": "success", "left": "success", "other": "success", "right": "skipped"}


def test_of_a_mapped_task_only_the_failed_calls_run_again():
    """The calls that succeeded keep their results, in their places."""
    dag = DAGWorkflow([Task("list", run=lambda: [1, 2, 3])])
    dag.add_task("square", run=lambda n: n * n, over="list").add_task("sum", run=sum, depends_on=["square"])
    _, second, history = twice(dag, [fail("square[1]")])
    assert second == {"list": [1, 2, 3], "square": [1, 4, 9], "sum": 14}
    assert [op.name for op in history.where(kind="task", type="invoke")][4:] == ["square[1]", "sum"]
    assert dict(history.where(kind="expand")[1].data) == {"over": "list", "count": 3, "kept": 2}


def test_a_second_failure_can_be_resumed_from_too():
    """The result of a resumed run holds all that has succeeded so far."""
    dag = etl()

    async def main():
        first = await dag.settle()
        second = await dag.settle(resume=first)
        return await dag.run(resume=second)

    rules = Rules([fail("enrich", count=1), fail("load", count=1)])
    simulation = Simulation(nemesis=rules)
    outcome = simulation.run(main)
    assert outcome.value["load"] == "clean+enrich"
    names = [op.name for op in simulation.recorder.history().where(kind="task", type="invoke")]
    assert names == ["extract", "clean", "enrich", "enrich", "load", "load"]


def test_resuming_works_in_production():
    """settle and resume need no simulation; execute takes a result too."""
    broken = [1]

    def flaky():
        if broken:
            raise OSError(broken.pop())
        return "fine"

    dag = DAGWorkflow([Task("a", run=lambda: "A"), Task("b", run=flaky)])
    first = asyncio.run(dag.settle())
    assert (first.ok, first.states) == (False, {"a": "success", "b": "failed"})
    assert dag.execute(resume=first) == {"a": "A", "b": "fine"}


def test_what_cannot_be_resumed_is_refused():
    """A result without failures, one of another design, and what is no result at all."""
    dag = etl()
    done = Simulation().run(dag.run).value
    with pytest.raises(DesignError, match="left nothing to repeat"):
        dag.execute(resume=done)
    with pytest.raises(DesignError, match="has a task 'other', which dag 'etl' has not"):
        dag.execute(resume=DAGResult({}, {"other": "failed"}, {}, {}, 0.0))
    with pytest.raises(DesignError, match="resume= of dag 'etl' is dict"):
        dag.execute(resume={})


def test_settle_hides_no_mistake_in_the_design():
    """Only the failure of the run itself is part of the result; a wrong design raises."""
    with pytest.raises(DesignError, match="has no tasks"):
        asyncio.run(DAGWorkflow().settle())
