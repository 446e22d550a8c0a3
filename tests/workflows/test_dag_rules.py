"""Which tasks of a DAG run: trigger rules, branches, tasks that skip themselves, setups and teardowns."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.checkers import dependencies_respected, every_task_decided, skipped_as_ruled, torn_down
from wfsim.errors import DesignError
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, fail
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Skip, Task

CHECKERS = (dependencies_respected, every_task_decided, skipped_as_ruled, torn_down)


def waits(seconds=1.0, value=None, error=None):
    async def work(*_results):
        await sleep(seconds)
        if error is not None:
            raise error
        return value

    return work


def skips(*_results):
    raise Skip("nothing new")


def play(dag, *given, faults=(), **options):
    """Run to the end, whatever happens; no checker may object to what the real DAG does."""
    simulation = Simulation(nemesis=Rules(faults))
    outcome = simulation.run(lambda: dag.settle(*given, **options))
    if outcome.error is not None:
        raise outcome.error
    history = simulation.recorder.history()
    objections = [verdict for check in CHECKERS if (verdict := check(history)).valid is False]
    assert objections == []
    return outcome.value, history


def ran(history):
    return [op.name for op in history.where(type="invoke", kind="task")]


def skipped(history):
    return {op.name: dict(op.data) for op in history.where(kind="skip")}


# -- rules --


def test_a_task_after_a_failure_runs_if_its_rule_says_so():
    """one_failed runs the alarm as soon as something failed; what it cannot have it is given as None."""
    given = []
    dag = DAGWorkflow([Task("load", run=waits(1, error=OSError("disk"))), Task("slow", run=waits(5, "slow"))])
    dag.add_task(
        "alarm",
        run=lambda *results: given.append(results),
        depends_on=["load", "slow"],
        trigger_rule="one_failed",
    )
    result, history = play(dag)
    assert given == [(None, None)]
    assert history.where(type="invoke", name="alarm")[0].time_ns == 1_000_000_000
    assert result.states == {"load": "failed", "slow": "success", "alarm": "success"}


def test_only_leaves_tell_how_the_run_ended():
    """As in Airflow: when the last task succeeds the run has, whatever failed on the way; the result tells."""
    dag = DAGWorkflow([Task("work", run=waits(1, error=OSError("disk")))], name="etl")
    dag.add_task("cleanup", run=lambda *_: "clean", depends_on=["work"], trigger_rule="all_done")
    result, history = play(dag)
    assert result.ok
    assert result == {"cleanup": "clean"}
    assert str(result.errors["work"]) == "disk"
    assert history[-1].type == "ok"
    assert history[-1].data == {"failed": ["work"]}


def test_the_error_raised_is_the_one_that_led_to_the_failed_leaf():
    """An earlier failure that was dealt with is told in the note, but it is not what the run failed of."""
    dag = DAGWorkflow(
        [
            Task("early", run=waits(1, error=KeyError("early"))),
            Task("late", run=waits(2, error=OSError("late"))),
        ]
    )
    dag.add_task("handled", run=lambda *_: 0, depends_on=["early"], trigger_rule="all_failed")
    dag.add_task("end", run=lambda *_: 0, depends_on=["late"])
    result, _ = play(dag)
    assert str(result.error) == "late"
    assert result.error.__notes__ == ["dag 'dag' failed at task 'late'; failed too: early; skipped: end"]


def test_always_does_not_wait():
    """A task with rule always starts with the run, though it depends on others."""
    dag = DAGWorkflow([Task("slow", run=waits(9))])
    dag.add_task("watch", run=lambda *_: 0, depends_on=["slow"], trigger_rule="always")
    _, history = play(dag)
    assert history.where(type="invoke", name="watch")[0].time_ns == 0


def test_a_rule_on_a_task_without_dependencies_has_nothing_to_say():
    """A first task runs, whatever its rule."""
    dag = DAGWorkflow([Task("first", run=lambda: 1, trigger_rule="one_failed")])
    assert play(dag)[0] == {"first": 1}


def test_a_retry_is_not_an_end():
    """Rules judge how a task ended after its last try."""
    dag = DAGWorkflow([Task("a", run=waits(1, "A"), retry=Retry(attempts=2, delay="1s"))])
    dag.add_task("alarm", run=lambda *_: 0, depends_on=["a"], trigger_rule="one_failed")
    result, _ = play(dag, faults=[fail("a", attempts=1)])
    assert result.states == {"a": "success", "alarm": "skipped"}


# -- skipping --


def test_a_task_skips_itself():
    """Skip ends a task without a failure; what depends on it is skipped too, and the run succeeds."""
    dag = DAGWorkflow([Task("check", run=skips)]).add_task("load", run=lambda *_: 0, depends_on=["check"])
    result, history = play(dag)
    assert result.ok
    assert result == {}
    assert result.states == {"check": "skipped", "load": "skipped"}
    assert skipped(history) == {
        "check": {"state": "skipped", "reason": "nothing new"},
        "load": {"state": "skipped", "reason": "check was skipped"},
    }


def test_a_skip_is_no_reason_to_try_again():
    """A task with a retry that skips itself is called once, and no retry is recorded."""
    dag = DAGWorkflow([Task("check", run=skips, retry=Retry(attempts=5))])
    _, history = play(dag)
    assert ran(history) == ["check"]
    assert history.where(kind="retry") == ()


def test_a_skip_works_in_production():
    """Outside a simulation a task skips itself in the same way."""
    dag = DAGWorkflow([Task("check", run=skips)]).add_task("load", run=lambda *_: 0, depends_on=["check"])
    assert asyncio.run(dag.run()).states == {"check": "skipped", "load": "skipped"}


# -- branches --


def branching(choice, **join):
    dag = DAGWorkflow(name="branches").add_task("pick", run=lambda: choice, branch=True)
    dag.add_task("left", run=waits(1, "L"), depends_on=["pick"])
    dag.add_task("right", run=waits(2, "R"), depends_on=["pick"])
    dag.add_task("join", run=lambda left, right: (left, right), depends_on=["left", "right"], **join)
    return dag


def test_a_branch_chooses_who_runs():
    """Only what the branch names runs; a join that wants no failure and one success takes what there is."""
    result, history = play(branching("left", trigger_rule="none_failed_min_one_success"))
    assert result["join"] == ("L", None)
    assert skipped(history) == {"right": {"state": "skipped", "reason": "pick did not choose it"}}


def test_a_join_that_wants_all_is_skipped_after_a_branch():
    """Airflow's most asked question: with the default rule the join is skipped together with the other branch."""
    result, _ = play(branching("left"))
    assert result.states["join"] == "skipped"
    assert result.ok


@pytest.mark.parametrize(
    ("choice", "states"),
    [
        (["left", "right"], ("success", "success")),
        (None, ("skipped", "skipped")),
        ([], ("skipped", "skipped")),
        (True, ("success", "success")),
        (False, ("skipped", "skipped")),
    ],
)
def test_a_branch_may_choose_several_none_or_all(choice, states):
    """A list chooses several, None and False nothing (a short circuit), True everything."""
    result, _ = play(branching(choice))
    assert (result.states["left"], result.states["right"]) == states


def test_a_branch_that_leads_around_a_task_does_not_skip_the_end():
    """What depends on the branch and on a task that it chose is not skipped, as in Airflow."""
    dag = DAGWorkflow().add_task("pick", run=lambda: "extra", branch=True)
    dag.add_task("extra", run=lambda *_: 1, depends_on=["pick"])
    dag.add_task("end", run=lambda *_: 2, depends_on=["pick", "extra"])
    assert play(dag)[0].states == {"pick": "success", "extra": "success", "end": "success"}


def test_a_branch_that_chooses_what_it_cannot_fails():
    """A branch that names a task which does not depend on it has failed, and the message says what there is."""
    result, _ = play(branching("lefd"))
    assert isinstance(result.error, DesignError)
    assert "branch 'pick' of dag 'branches' chose 'lefd'" in str(result.error)
    assert "did you mean 'left'?" in str(result.error)
    assert result.states["left"] == "upstream_failed"


# -- setups and teardowns --


def cluster(*, work=None, teardown=None, fails_dag=False):
    dag = DAGWorkflow(name="cluster").add_task("create", run=waits(1, "cluster"))
    dag.add_task("query", run=work or waits(2), depends_on=["create"])
    dag.add_task("report", run=waits(1), depends_on=["query"])
    dag.add_task(
        "delete", run=teardown or waits(1), depends_on=["report"], teardown_of=["create"], fails_dag=fails_dag
    )
    return dag


def test_a_teardown_runs_whatever_happened_after_its_setup():
    """What was created is deleted although the work failed, and the run fails of the work."""
    result, _ = play(cluster(work=waits(1, error=OSError("query"))))
    assert result.states == {
        "create": "success",
        "query": "failed",
        "report": "upstream_failed",
        "delete": "success",
    }
    assert str(result.error) == "query"


def test_a_teardown_of_what_never_was_does_not_run():
    """If the setup failed there is nothing to take down; if it skipped itself, the teardown is skipped."""
    dag = cluster()
    assert play(dag, faults=[fail("create")])[0].states["delete"] == "upstream_failed"
    dag = cluster()
    dag["create"].run = skips
    assert play(dag)[0].states["delete"] == "skipped"


def test_a_failed_teardown_fails_the_run_only_if_it_says_so():
    """The state of the run is that of the work; fails_dag makes the teardown count."""
    assert play(cluster(teardown=waits(1, error=OSError("stuck"))))[0].ok
    result, _ = play(cluster(teardown=waits(1, error=OSError("stuck")), fails_dag=True))
    assert str(result.error) == "stuck"


def test_work_waits_for_a_setup_that_it_does_not_depend_on_directly():
    """A task between a setup and its teardown runs only if the setup succeeded, whatever its own rule."""
    dag = cluster()
    dag.add_task("anyway", run=lambda *_: 0, depends_on=["query"], trigger_rule="all_done")
    dag["anyway"] >> dag["delete"]
    assert play(dag, faults=[fail("create")])[0].states["anyway"] == "upstream_failed"
    assert play(dag, faults=[fail("query")])[0].states["anyway"] == "success"


def test_work_waits_until_its_setup_has_succeeded():
    """Also if all that it depends on directly ended long before: it lives on what is being set up."""
    dag = DAGWorkflow().add_task("create", run=waits(9))
    dag.add_task("hurry", run=waits(1), depends_on=["create"], trigger_rule="always")
    dag.add_task("work", run=waits(1), depends_on=["hurry"])
    dag.add_task("eager", run=waits(1), depends_on=["hurry"], trigger_rule="one_success")
    dag.add_task("delete", run=waits(1), depends_on=["work", "eager"], teardown_of=["create"])
    _, history = play(dag)
    starts = {op.name: op.time_ns / 1e9 for op in history.where(type="invoke", kind="task")}
    assert starts == {"create": 0, "hurry": 0, "work": 9, "eager": 9, "delete": 10}


def test_a_teardown_waits_for_all_that_lives_on_its_setup():
    """Also for tasks on the way that it does not depend on itself, as in Airflow."""
    dag = DAGWorkflow().add_task("create", run=waits(1))
    dag.add_task("slow", run=waits(9), depends_on=["create"])
    dag.add_task("quick", run=waits(1, error=OSError("quick")), depends_on=["create"])
    dag.add_task("both", run=waits(1), depends_on=["quick", "slow"])
    dag.add_task("delete", run=waits(1), depends_on=["both"], teardown_of=["create"])
    _, history = play(dag)
    assert history.where(type="invoke", name="delete")[0].time_ns == 10_000_000_000


def test_as_setup_and_as_teardown_say_the_same():
    """The methods of a task stand for the options."""
    create, query, delete = (Task(name, run=waits(1)) for name in ("create", "query", "delete"))
    create >> query >> delete.as_teardown(setups=create)
    result, history = play(DAGWorkflow([create, query, delete]), faults=[fail("query")])
    assert result.states["delete"] == "success"
    assert history[0].data["teardowns"] == {"delete": {"of": ["create"]}}
    assert history[0].data["setups"] == ["create"]


def test_a_cancelled_run_still_tears_down():
    """Whoever cancels a run waits until what was set up has been taken down."""
    simulation = Simulation()

    async def main():
        async with asyncio.timeout(1.5):
            await cluster().run()

    outcome = simulation.run(main)
    history = simulation.recorder.history()
    assert isinstance(outcome.error, TimeoutError)
    assert ran(history) == ["create", "query", "delete"]
    assert outcome.duration_ns == 2_500_000_000
    assert torn_down(history).valid is True


def test_a_run_cancelled_twice_gives_up_the_teardown_too():
    """A second cancellation also cancels the teardowns."""
    simulation = Simulation()

    async def main():
        task = asyncio.create_task(cluster().run())
        await sleep(1.5)
        task.cancel()
        await sleep(0.5)
        task.cancel()
        await task

    outcome = simulation.run(main)
    assert isinstance(outcome.error, asyncio.CancelledError)
    assert outcome.duration_ns == 2_000_000_000
