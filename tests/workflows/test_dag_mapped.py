"""Mapped tasks: one call for each item of a list that is known only when the DAG runs."""

from __future__ import annotations

import pytest

from wfsim.checkers import dependencies_respected, every_task_decided, no_task_repeated, retried_as_policy
from wfsim.errors import DesignError
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, fail
from wfsim.resilience import Retry
from wfsim.workflows import DAGWorkflow, Skip, Task

CHECKERS = (dependencies_respected, every_task_decided, no_task_repeated, retried_as_policy)


def squares(items, *, retry=None, rule="all_success", **options):
    dag = DAGWorkflow(name="squares", **options).add_task("list", run=lambda: items)

    @dag.task(over="list", retry=retry)
    async def square(number):
        await sleep(1)
        return number * number

    dag.add_task("total", run=sum, depends_on=[square], trigger_rule=rule)
    return dag


def play(dag, faults=(), **options):
    simulation = Simulation(nemesis=Rules(faults))
    outcome = simulation.run(lambda: dag.settle(**options))
    if outcome.error is not None:
        raise outcome.error
    history = simulation.recorder.history()
    assert [verdict for check in CHECKERS if (verdict := check(history)).valid is False] == []
    return outcome.value, history


def test_a_task_runs_once_for_each_item_and_the_next_reduces():
    """The calls run side by side; the result is the list of their results, in the order of the items."""
    result, history = play(squares([3, 1, 2]))
    assert result == {"list": [3, 1, 2], "square": [9, 1, 4], "total": 14}
    calls = [op for op in history.where(type="invoke", kind="task") if op.name.startswith("square")]
    assert [(op.name, op.time_ns) for op in calls] == [("square[0]", 0), ("square[1]", 0), ("square[2]", 0)]
    assert [dict(op.data) for op in history.where(kind="expand")] == [{"over": "list", "count": 3}]


def test_slots_limit_the_calls_too():
    """Each call of a mapped task needs a slot of its own."""
    _, history = play(squares(list(range(6)), max_parallel=2))
    assert history[-1].time_ns == 3_000_000_000


def test_an_item_stands_in_place_of_its_list():
    """The other results are given to every call, each where depends_on names it."""
    dag = DAGWorkflow([Task("factor", run=lambda: 10), Task("list", run=lambda: [1, 2])])
    dag.add_task("times", run=lambda factor, item: factor * item, depends_on=["factor", "list"], over="list")
    assert play(dag)[0]["times"] == [10, 20]


def test_nothing_to_map_over_is_skipped():
    """An empty list skips the task, as in Airflow."""
    result, history = play(squares([]))
    assert result.states == {"list": "success", "square": "skipped", "total": "skipped"}
    assert history.where(kind="skip")[0].data["reason"] == "list gives no items"


def test_what_is_no_list_fails_the_task():
    """Something that cannot be mapped over fails the task with a message that names it."""
    result, _ = play(squares(3))
    assert isinstance(result.error, DesignError)
    assert "mapped over the result of 'list', which is of type int; let it give a list" in str(result.error)


def test_the_items_of_a_dict_are_its_pairs():
    """Over a dict the task is given key and value."""
    dag = DAGWorkflow([Task("prices", run=lambda: {"tea": 2, "cake": 5})])
    dag.add_task("tag", run=lambda item: f"{item[0]}: {item[1]}", over="prices")
    assert play(dag)[0]["tag"] == ["tea: 2", "cake: 5"]


def test_each_call_is_retried_by_itself():
    """A retry wraps each call; faults can name one call or, with a glob, all of them."""
    result, history = play(
        squares([1, 2, 3], retry=Retry(attempts=2, delay="1s")), [fail("square[1]", attempts=1)]
    )
    assert result["total"] == 14
    assert [op.name for op in history.where(kind="retry")] == ["square[1]"]


def test_one_failed_call_fails_what_wants_all():
    """The tasks after a mapped one count its calls: one that failed is enough for all_success."""
    result, _ = play(squares([1, 2, 3]), [fail("square[1]")])
    assert result.states == {"list": "success", "square": "failed", "total": "upstream_failed"}
    assert [one.state for one in result.instances["square"]] == ["success", "failed", "success"]
    assert result.error.__notes__ == ["dag 'squares' failed at task 'square[1]'; skipped: total"]


def test_a_reduction_may_take_what_there_is():
    """With all_done the results of the calls that succeeded are passed on."""
    result, _ = play(squares([1, 2, 3], rule="all_done"), [fail("square[1]")])
    assert result["total"] == 10


def test_one_success_does_not_wait_for_the_other_calls():
    """The first call that succeeds decides; what it is given is what there is by then."""
    dag = DAGWorkflow([Task("list", run=lambda: [5, 1, 9])])

    @dag.task(over="list")
    async def wait(seconds):
        await sleep(seconds)
        return seconds

    dag.add_task("first", run=lambda found: found, depends_on=[wait], trigger_rule="one_success")
    assert play(dag)[0]["first"] == [1]


def test_a_call_may_skip_itself():
    """A skipped call leaves no result; if all are skipped, the task is."""
    dag = DAGWorkflow([Task("list", run=lambda: [1, 2, 3])])

    @dag.task(over="list")
    def odd(number):
        if number % 2 == 0:
            raise Skip(f"{number} is even")
        return number

    dag.add_task("all", run=lambda found: found, depends_on=[odd], trigger_rule="none_failed")
    result, _ = play(dag)
    assert result["all"] == [1, 3]
    assert [one.state for one in result.instances["odd"]] == ["success", "skipped", "success"]


def test_a_mapped_task_can_be_mapped_over():
    """The list of results of one mapped task is what the next is mapped over."""
    dag = squares([1, 2])
    dag.add_task("negative", run=lambda number: -number, over="square")
    assert play(dag)[0]["negative"] == [-1, -4]


@pytest.mark.parametrize("state", ["failed", "skipped"])
def test_without_a_list_there_is_no_call(state):
    """If the task that gives the list did not, the mapped task shares its fate, whatever its rule."""

    def work():
        raise Skip if state == "skipped" else OSError

    dag = DAGWorkflow([Task("list", run=work)]).add_task(
        "each", run=lambda one: one, over="list", trigger_rule="all_done"
    )
    result, _ = play(dag)
    assert result.states["each"] == {"failed": "upstream_failed"}.get(state, state)
