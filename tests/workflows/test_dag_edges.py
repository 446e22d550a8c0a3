"""Drawing a DAG: decorators, arrows and names, and what is refused while it is drawn."""

# ruff: noqa: ARG005, B023, PT017 - arrows are expressions; what a lambda takes is what these tests are about

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import CycleError, DesignError
from wfsim.kernel import Simulation
from wfsim.workflows import TRIGGER_RULES, Agent, DAGWorkflow, Saga, Task


def edges(dag):
    return {task.name: task.depends_on for task in dag.tasks}


def tasks(names, **options):
    return [Task(name, run=lambda *results: name, **options) for name in names]


def test_arrows_join_tasks():
    """a >> b and b << a are the same edge, written from either end."""
    a, b, c = tasks("abc")
    a >> b
    c << b
    assert edges(DAGWorkflow([a, b, c])) == {"a": (), "b": ("a",), "c": ("b",)}


def test_arrows_join_lists():
    """An arrow from or to a list of tasks joins each of them, and arrows can be chained."""
    a, b, c, d, e = tasks("abcde")
    a >> [b, c] >> d << [e]
    assert edges(DAGWorkflow([a, b, c, d, e])) == {
        "a": (),
        "b": ("a",),
        "c": ("a",),
        "d": ("b", "c", "e"),
        "e": (),
    }
    f, g, h = tasks("fgh")
    [f, g] << h
    assert edges(DAGWorkflow([f, g, h])) == {"f": ("h",), "g": ("h",), "h": ()}


def test_decorated_functions_are_tasks():
    """@dag.task adds the function under its name, with options or without; the name then stands for the task."""
    dag = DAGWorkflow(name="etl")

    @dag.task
    def fetch():
        return 2

    @dag.task(depends_on=[fetch], priority=3)
    async def double(number):
        return number * 2

    @dag.task(name="add one")
    def increment(number):
        return number + 1

    double >> increment
    assert dag["add one"] is increment
    assert dag["double"].priority == 3
    assert dag.execute() == {"fetch": 2, "double": 4, "add one": 5}
    assert fetch.run() == 2


def test_tasks_by_name_can_be_joined_after_add_task():
    """dag["name"] is the task of that name, also for arrows."""
    dag = DAGWorkflow().add_task("a", run=lambda: 1).add_task("b", run=lambda a: a + 1)
    dag["a"] >> dag["b"]
    assert dag.execute() == {"a": 1, "b": 2}
    with pytest.raises(DesignError, match="dag 'dag' has no task 'c'"):
        dag["c"]


def test_an_arrow_that_closes_a_cycle_is_refused_and_leaves_no_trace():
    """The arrow raises with the path of the cycle, and the DAG is as it was before."""
    dag = DAGWorkflow(tasks("abc"))
    dag["a"] >> dag["b"] >> dag["c"]
    with pytest.raises(CycleError, match="a -> c -> b -> a"):
        dag["c"] >> dag["a"]
    assert edges(dag) == {"a": (), "b": ("a",), "c": ("b",)}
    with pytest.raises(CycleError, match="a -> a"):
        dag["a"] >> dag["a"]


def test_a_second_arrow_between_the_same_tasks_is_refused():
    """A dependency is named once."""
    a, b = tasks("ab")
    a >> b
    with pytest.raises(DesignError, match="task 'b' depends on 'a' twice"):
        a >> b


def test_a_run_sees_arrows_drawn_after_the_run_before():
    """A DAG that has run can be redrawn and run again."""
    dag = DAGWorkflow(name="grows").add_task("a", run=lambda: 1).add_task("b", run=lambda *a: a)
    assert dag.execute()["b"] == ()
    dag["a"] >> dag["b"]
    assert dag.execute()["b"] == (1,)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20))
def test_arrows_draw_a_dag_or_say_why_not(arrows):
    """Whatever arrows are drawn, those accepted form no cycle, and no accepted one could have been left out."""
    nodes = tasks("abcdefg")
    dag = DAGWorkflow(nodes)
    accepted = []
    for start, end in arrows:
        reach = {start}
        for _ in nodes:
            reach |= {one for one, other in accepted if other in reach}
        try:
            nodes[start] >> nodes[end]
        except CycleError as error:
            assert end in reach
            assert error.cycle[0] == error.cycle[-1]
        except DesignError:
            assert (start, end) in accepted
        else:
            assert end not in reach
            accepted.append((start, end))
    dag.execute()


# -- flows as tasks --


def test_a_dag_can_be_a_task():
    """A DAG as a task is given the result that the task depends on as its input; its result is its results."""
    inner = DAGWorkflow(name="inner").add_task("plus", run=lambda n: n + 1)
    inner.add_task("twice", run=lambda n: n * 2, depends_on=["plus"])
    outer = DAGWorkflow(name="outer").add_task("three", run=lambda: 3)
    outer.add_task("inner", run=inner, depends_on=["three"])
    outer.add_task("end", run=lambda results: results["twice"], depends_on=["inner"])
    assert outer.execute() == {"three": 3, "inner": {"plus": 4, "twice": 8}, "end": 8}


def test_a_dag_within_a_dag_gets_several_results_as_one_input():
    """A flow takes one input: of several results, all of them in their order."""
    inner = DAGWorkflow().add_task("sum", run=sum)
    outer = DAGWorkflow([Task("a", run=lambda: 1), Task("b", run=lambda: 2)])
    outer.add_task("inner", run=inner, depends_on=["a", "b"])
    assert outer.execute()["inner"] == {"sum": 3}


def test_a_saga_can_be_a_task():
    """Any flow with a run method can do a task's work; what happens in it stands inside the task."""
    saga = Saga("book").add_step("pay", forward=lambda: "paid")
    simulation = Simulation()
    dag = DAGWorkflow([Task("booking", run=saga)])
    assert dict(simulation.run(dag.run).value["booking"]) == {"pay": "paid"}
    whole, task, inner, *_ = simulation.recorder.history()
    assert [op.kind for op in (whole, task, inner)] == ["dag", "task", "saga"]
    assert inner.parent == task.index


def test_a_dag_that_contains_itself_is_refused():
    """A DAG cannot be a task of itself, directly or within another one; the path is named."""
    outer, inner = DAGWorkflow(name="outer"), DAGWorkflow(name="inner")
    with pytest.raises(CycleError, match="outer -> outer"):
        outer.add_task("again", run=outer)
    outer.add_task("inner", run=inner)
    with pytest.raises(CycleError, match="inner -> outer -> inner"):
        inner.add_task("outer", run=outer)


# -- designs that cannot work --


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Task("a", run=print, trigger_rule="one_sucess"),
            "trigger_rule of task 'a' is 'one_sucess'; did you mean 'one_success'?",
        ),
        (lambda: Task("a", run=print, trigger_rule="xyz"), f"there are {', '.join(TRIGGER_RULES)}"),
        (lambda: Task("a", run=print, timeout=0), "timeout of task 'a' is 0"),
        (lambda: Task("a", run=print, timeout="-1s"), "negative"),
        (
            lambda: Task("a", run=print, priority=1.5),
            "priority of task 'a' is 1.5; it must be a whole number",
        ),
        (lambda: Task("a", run=print, pool=3), "pool of task 'a' is 3, which `async with` cannot enter"),
        (lambda: Task("a", run=print, skill="cook"), "needs skill 'cook' of an agent; name the agent"),
        (lambda: Task("a", run=print, over="b", branch=True), "mapped over 'b' and cannot be a branch"),
        (lambda: Task("a", run=print, over="b", trigger_rule="always"), "cannot be run always"),
        (lambda: Task("a", run=print, fails_dag=True), "add teardown_of="),
        (lambda: Task("a", run=print, setup=True, teardown_of=["b"]), "cannot be a setup and a teardown"),
        (lambda: Task("a", run=print, teardown_of="b"), "write teardown_of=['b']"),
        (lambda: Task("a", run=print, depends_on=3), "must be a list of names or tasks, not 3"),
        (lambda: Task("a", run=print) >> "b", "join tasks and lists of tasks, not 'b'"),
        (lambda: Task("a", run=print) << ["b"], "join tasks and lists of tasks, not ['b']"),
        (lambda: DAGWorkflow(max_parallel=0), "max_parallel of dag 'dag' is 0; it must be 1 or more"),
        (lambda: DAGWorkflow(max_parallel=True), "max_parallel of dag 'dag' is True"),
        (lambda: DAGWorkflow().task(color="red")(print), "a task has no 'color'"),
        (lambda: DAGWorkflow().task(timout=3)(print), "did you mean 'timeout'?"),
        (lambda: DAGWorkflow().task(lambda: 0), "the name of a task must be a text"),
        (
            lambda: DAGWorkflow([Task("a", run=print, trigger_rule="all_done")], fail_fast=True),
            "dag 'dag' stops at the first failure; leave out fail_fast=True, or the rule",
        ),
        (lambda: DAGWorkflow(tasks("a", branch=True)).check(), "is a branch, but nothing depends on it"),
        (
            lambda: DAGWorkflow(
                [*tasks("a"), Task("b", print, teardown_of=["a"]), Task("c", print, teardown_of=["b"])]
            ).check(),
            "takes down 'b', which is a teardown itself",
        ),
        (lambda: DAGWorkflow(agents=[print]), "is no agent of dag 'dag'; write Agent(name, run=...)"),
        (lambda: DAGWorkflow(agents=[Agent("a"), Agent("a")]), "has an agent 'a' already"),
        (lambda: Agent("a", skills="cook"), "write skills=['cook']"),
        (lambda: Agent("a", capacity=0), "capacity of agent 'a' is 0; it must be 1 or more"),
        (lambda: Agent("a", cost=-1), "cost of agent 'a' is -1; it must be a number of 0 or more"),
        (lambda: Agent("a", cost_per_s=float("inf")), "cost_per_s of agent 'a' is inf"),
        (lambda: Agent("a", failure_probability=2), "failure_probability of agent 'a' is 2"),
        (lambda: Agent("a", latency="soon"), "'soon' is no duration"),
        (lambda: Agent("a", run=3), "run of agent 'a' cannot be called"),
    ],
)
def test_wrong_use_is_refused_at_once(build, message):
    """What cannot be meant is refused while the DAG is drawn; the message names the part and the cure."""
    with pytest.raises(DesignError) as caught:
        build()
    assert message in str(caught.value)
