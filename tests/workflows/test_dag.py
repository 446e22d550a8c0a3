"""The DAG: as parallel as its dependencies allow, and no cycle gets in."""

# ruff: noqa: ARG005 - what a lambda takes and calls is what these tests are about

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import CycleError, DesignError, RetriesExhausted
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, delay, fail
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Task


def waits(seconds, value=None, error=None):
    async def work():
        await sleep(seconds)
        if error is not None:
            raise error
        return value

    return work


def play(dag, *args, faults=()):
    simulation = Simulation(nemesis=Rules(faults))
    return simulation.run(dag.run, *args), simulation.recorder.history()


def started(history):
    return {op.name: op.time_ns / 1e9 for op in history.where(type="invoke", kind="task")}


def diamond(**options):
    dag = DAGWorkflow(name="diamond", **options)
    dag.add_task("a", func=waits(1, "A"))
    dag.add_task("b", func=waits(2, "B"), depends_on=["a"])
    dag.add_task("c", func=waits(5, "C"), depends_on=["a"])
    dag.add_task("d", func=lambda b, c: b + c, depends_on=["b", "c"])
    return dag


def test_tasks_run_side_by_side():
    """A task starts as soon as all it depends on has succeeded.

    The results come by name, in order of add_task.
    """
    outcome, history = play(diamond())
    assert outcome.value == {"a": "A", "b": "B", "c": "C", "d": "BC"}
    assert list(outcome.value) == ["a", "b", "c", "d"]
    assert started(history) == {"a": 0, "b": 1, "c": 1, "d": 6}


def test_plain_functions_run_side_by_side_too():
    """Blocking functions do not wait for each other: two sleeps of a second take one second."""
    dag = DAGWorkflow([Task(name, run=lambda: time.sleep(1)) for name in "abc"])
    outcome, _ = play(dag)
    assert outcome.duration_ns == 1_000_000_000


def test_history_tells_the_design():
    """The DAG's own operation holds its tasks with their dependencies, and the policies."""
    dag = diamond().add_task("e", func=lambda: 0, depends_on=["a"], retry=Retry(attempts=2))
    _, history = play(dag)
    assert history[0].data == {
        "tasks": {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["a"]},
        "retry": {"e": Retry(attempts=2).describe()},
    }


def test_results_come_in_the_order_of_depends_on():
    """A function is given the results of what it depends on, in the order in which the task names it."""
    dag = DAGWorkflow([Task("a", run=lambda: "A"), Task("b", run=lambda: "B")])
    dag.add_task("ab", run=lambda *results: results, depends_on=["a", "b"])
    dag.add_task("ba", run=lambda first, second: (first, second), depends_on=["b", "a"])
    dag.add_task("none", run=lambda: "nothing", depends_on=["a", "b"])
    dag.add_task("default", run=lambda kept="kept": kept, depends_on=["a"])
    value = play(dag)[0].value
    assert value["ab"] == ("A", "B")
    assert value["ba"] == ("B", "A")
    assert value["none"] == "nothing"
    assert value["default"] == "kept"


def test_input_goes_to_the_tasks_that_depend_on_nothing():
    """A first task with one argument takes the input of the run; without an input the run does not begin."""
    dag = DAGWorkflow(
        [Task("fetch", run=lambda url: f"page of {url}"), Task("other", run=lambda: 0)], name="crawl"
    )
    assert play(dag, "home")[0].value == {"fetch": "page of home", "other": 0}
    with pytest.raises(
        DesignError, match="task 'fetch' of dag 'crawl' takes an argument but depends on nothing"
    ):
        dag.execute()
    with pytest.raises(DesignError, match="takes one input at most"):
        dag.execute(1, 2)


def test_failure_skips_what_depends_on_it_and_spares_the_rest():
    """Dependants of a failed task never start.

    Independent ones, running or still to come, run to their end.
    """
    dag = (
        diamond()
        .add_task("e", func=waits(1), depends_on=["d"])
        .add_task("f", func=waits(1), depends_on=["c"])
    )
    outcome, history = play(dag, faults=[fail("b", error=ConnectionError("down"))])
    assert type(outcome.error) is ConnectionError
    assert outcome.error.__notes__ == ["dag 'diamond' failed at task 'b'; skipped: d, e"]
    assert started(history) == {"a": 0, "b": 1, "c": 1, "f": 6}
    assert [(op.name, op.data["because"]) for op in history.where(kind="skip")] == [("d", "b"), ("e", "b")]
    assert outcome.duration_ns == 7_000_000_000
    assert history[-1].data["failed"] == ["b"]
    assert history[-1].data["skipped"] == ["d", "e"]


def test_a_task_is_skipped_once():
    """A task that depends on the failed one in two ways is skipped, and told of, once."""
    _, history = play(diamond(), faults=[fail("a")])
    assert [op.name for op in history.where(kind="skip")] == ["b", "c", "d"]


def test_tasks_can_be_added_after_a_run():
    """A DAG that has run can grow and run again."""
    dag = DAGWorkflow([Task("a", run=lambda: "A")])
    assert play(dag)[0].value == {"a": "A"}
    dag.add_task("b", run=lambda a: a + "B", depends_on=["a"])
    assert play(dag)[0].value == {"a": "A", "b": "AB"}


def test_first_of_several_failures_is_raised():
    """When several tasks fail, the first error in time leaves the DAG, and its note names the others."""
    dag = DAGWorkflow([Task("slow", run=waits(2, error=KeyError("slow")))])
    dag.add_task("quick", run=waits(1, error=OSError("quick")))
    outcome, _ = play(dag)
    assert str(outcome.error) == "quick"
    assert outcome.error.__notes__ == ["dag 'dag' failed at task 'quick'; failed too: slow"]


def test_retry_wraps_a_task():
    """A task with a policy is tried again; its dependants wait for the try that succeeds."""
    dag = DAGWorkflow([Task("a", run=waits(1, "A"), retry=Retry(attempts=3, backoff="fixed", delay="1s"))])
    dag.add_task("b", run=lambda a: a, depends_on=["a"])
    outcome, history = play(dag, faults=[fail("a", attempts=1)])
    assert outcome.value == {"a": "A", "b": "A"}
    assert started(history)["b"] == 2
    outcome, _ = play(dag, faults=[fail("a")])
    assert isinstance(outcome.error, RetriesExhausted)


def test_cancelled_dag_cancels_its_tasks():
    """A DAG that runs into a timeout leaves no task behind."""
    ended = []

    async def long():
        try:
            await sleep(10)
        finally:
            ended.append("long")

    async def main():
        async with asyncio.timeout(3):
            await DAGWorkflow([Task("a", run=long), Task("b", run=long)]).run()

    simulation = Simulation()
    outcome = simulation.run(main)
    assert isinstance(outcome.error, TimeoutError)
    assert outcome.duration_ns == 3_000_000_000
    assert ended == ["long", "long"]


def test_task_that_cancels_itself_has_failed():
    """A task that ends in a cancellation nobody asked for counts as failed, and the DAG ends."""

    async def cancels():
        raise asyncio.CancelledError

    dag = DAGWorkflow(
        [Task("a", run=cancels), Task("b", run=lambda: 0, depends_on=["a"]), Task("c", run=waits(2))]
    )

    async def main():
        with pytest.raises(asyncio.CancelledError) as caught:
            await dag.run()
        return caught.value.__notes__

    assert Simulation().run(main).value == ["dag 'dag' failed at task 'a'; skipped: b"]


def test_agents_do_the_work_of_tasks_that_name_them():
    """A task with an agent runs that agent's function, under the same rules for arguments."""
    agents = {"analyst": lambda: "found", "writer": lambda findings: f"wrote {findings}"}
    dag = DAGWorkflow(agents=agents)
    dag.add_task("analyze", agent="analyst").add_task("report", agent="writer", depends_on=["analyze"])
    assert play(dag)[0].value == {"analyze": "found", "report": "wrote found"}


def test_missing_agent_is_named():
    """A DAG can be drawn without its agents, but not run."""
    dag = DAGWorkflow(name="review").add_task("analyze", agent="analyst")
    with pytest.raises(
        DesignError, match=r"task 'analyze' of dag 'review' needs agent 'analyst'.*agents={'analyst'"
    ):
        dag.execute()
    close = DAGWorkflow(agents={"analyst": print}).add_task("analyze", agent="analist")
    with pytest.raises(DesignError, match="did you mean 'analyst'"):
        close.execute()


def test_delay_in_one_task_moves_only_what_waits_for_it():
    """A fault strikes the task it names."""
    _, history = play(diamond(), faults=[delay("b", "10s")])
    assert started(history) == {"a": 0, "b": 1, "c": 1, "d": 13}


# -- designs that cannot work --


@pytest.mark.parametrize(
    ("edges", "path"),
    [
        ({"a": ["b"], "b": ["a"]}, "a -> b -> a"),
        ({"a": ["b"], "b": ["c"], "c": ["a"]}, "a -> b -> c -> a"),
        ({"x": [], "a": ["x", "b"], "b": ["x", "c"], "c": ["x", "a"], "d": ["c"]}, "a -> b -> c -> a"),
        ({"a": ["a"]}, "a -> a"),
        ({"z": ["y"], "w": ["z"], "y": ["w"]}, "z -> y -> w -> z"),
    ],
)
def test_cycle_is_refused_with_its_own_path(edges, path):
    """A cycle is refused when the DAG is built; the error names the tasks on it and no others."""
    with pytest.raises(CycleError, match=path) as caught:
        DAGWorkflow([Task(name, run=lambda: 0, depends_on=others) for name, others in edges.items()])
    assert " -> ".join(caught.value.cycle) == path


def test_task_that_closes_a_cycle_is_the_one_refused():
    """A task may depend on one that comes later.

    The add_task that makes the circle raises, and leaves the DAG as it was.
    """
    dag = (
        DAGWorkflow()
        .add_task("a", func=lambda: "A", depends_on=["c"])
        .add_task("b", func=lambda: "B", depends_on=["a"])
    )
    with pytest.raises(CycleError, match="a -> c -> b -> a"):
        dag.add_task("c", func=lambda: "C", depends_on=["b"])
    dag.add_task("c", func=lambda: "C")
    assert play(dag)[0].value == {"a": "A", "b": "B", "c": "C"}


@given(st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=8))
def test_every_cycle_is_found_and_no_other(depends):
    """A design is refused if and only if it has a cycle, and the path in the error is one."""
    edges = {str(n): sorted({str(o % len(depends)) for o in others}) for n, others in enumerate(depends)}
    order, left = [], dict(edges)
    while ready := [name for name, others in left.items() if not set(others) & set(left)]:
        order += ready
        left = {name: others for name, others in left.items() if name not in ready}
    tasks = [Task(name, run=lambda: 0, depends_on=others) for name, others in edges.items()]
    if not left:
        assert len(DAGWorkflow(tasks).tasks) == len(edges)
        return
    with pytest.raises(CycleError) as caught:
        DAGWorkflow(tasks)
    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert all(after in edges[before] for before, after in pairwise(cycle))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DAGWorkflow("build"), "DAGWorkflow(name='build')"),
        (lambda: DAGWorkflow([lambda: 0]), "is no task of dag 'dag'; write Task(name, run=...)"),
        (lambda: DAGWorkflow(name=""), "the name of a DAG must be a text"),
        (lambda: Task(""), "the name of a task must be a text"),
        (lambda: Task("a"), "task 'a' needs one of run=, func= and agent="),
        (lambda: Task("a", run=print, func=print), "and only one"),
        (lambda: Task("a", run=print, agent="b"), "and only one"),
        (lambda: Task("a", run=3), "task 'a' cannot be called: it is 3"),
        (lambda: Task("a", run=print, depends_on="b"), "write depends_on=['b']"),
        (lambda: Task("a", run=print, depends_on=["b", "b"]), "task 'a' depends on 'b' twice"),
        (
            lambda: Task("a", run=lambda x: x, depends_on=["b", "c"]),
            "task 'a' takes 1 argument, but has 2 results",
        ),
        (
            lambda: Task("a", run=lambda x, y: x, depends_on=["b"]),
            "task 'a' takes 2 arguments, but has 1 result",
        ),
        (
            lambda: DAGWorkflow([Task("a", run=lambda x, y: x)]),
            "task 'a' takes 2 arguments, but has only an input",
        ),
        (lambda: Task("a", run=print, retry="often"), "retry of task 'a' is 'often', which is no policy"),
        (
            lambda: DAGWorkflow([Task("fetch", run=print), Task("b", run=print, depends_on=["fech"])]),
            "task 'b' of dag 'dag' depends on 'fech', which it has not; did you mean 'fetch'?",
        ),
        (lambda: DAGWorkflow().add_task("a", run=print).add_task("a", run=print), "has a task 'a' already"),
        (
            lambda: DAGWorkflow(agents={"x": lambda a, b: 0}).add_task("a", agent="x", depends_on=["b"]),
            "agent of task 'a' takes 2 arguments",
        ),
    ],
)
def test_wrong_designs_are_refused_at_once(build, message):
    """A design that cannot work is refused while it is built, and the message names the part and the cure."""
    with pytest.raises(DesignError) as caught:
        build()
    assert message in str(caught.value)


def test_unknown_dependency_is_refused_when_the_dag_runs():
    """What add_task could still have added is missed when the DAG is run."""
    dag = DAGWorkflow().add_task("a", func=lambda: 0, depends_on=["later"])
    with pytest.raises(DesignError, match="depends on 'later', which it has not"):
        dag.execute()
    with pytest.raises(DesignError, match="dag 'empty' has no tasks"):
        DAGWorkflow(name="empty").execute()


def test_networkx_is_not_imported_for_a_dag_without_back_references():
    """Building and running a DAG in order needs no graph library, whose import takes longer than wfsim's."""
    code = (
        "import sys; from wfsim.workflows import DAGWorkflow, Task;"
        "DAGWorkflow([Task('a', run=lambda: 0), Task('b', run=lambda: 0, depends_on=['a'])]).execute();"
        "print('networkx' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_a_thousand_tasks_in_any_order_are_built_quickly():
    """Building a chain back to front, the worst order for the search for cycles, takes no noticeable time."""
    begin = time.perf_counter()
    dag = DAGWorkflow(
        Task(str(n), run=lambda: 0, depends_on=[str(n - 1)] if n else []) for n in reversed(range(1000))
    )
    assert len(dag.tasks) == 1000
    assert time.perf_counter() - begin < 2
