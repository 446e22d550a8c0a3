"""DAGs described in a file: what they can say, and what is refused, with its place and the cure."""

from __future__ import annotations

import pytest

from wfsim.errors import ScenarioError
from wfsim.harness import run
from wfsim.scenario import load_text

HEAD = "design:\n  dag: etl\n"


def read(tasks, more=""):
    lines = "".join(f"    - {{{task}}}\n" for task in tasks)
    return load_text(f"{HEAD}{more}  tasks:\n{lines}")


def states(experiment, seed=0):
    history = run(experiment, seed).run.history
    ran = {op.name for op in history.where(type="ok", kind="task")}
    return ran, {op.name: op.data["state"] for op in history.where(kind="skip")}


def test_a_branch_chooses_by_probability():
    """`choose` gives each task after a branch its probability; over many seeds all of them come up."""
    experiment = read(
        [
            "name: pick, choose: {left: 0.6, right: 0.3}",
            "name: left, depends_on: [pick]",
            "name: right, depends_on: [pick]",
            "name: join, depends_on: [left, right], trigger_rule: none_failed_min_one_success",
        ]
    )
    found = [frozenset(states(experiment, seed)[0]) for seed in range(40)]
    assert set(found) == {
        frozenset({"pick", "left", "join"}),
        frozenset({"pick", "right", "join"}),
        frozenset({"pick"}),
    }
    assert found == [frozenset(states(experiment, seed)[0]) for seed in range(40)]


def test_a_task_is_mapped_over_items():
    """`items` says how many a task gives, `over` who gives them."""
    ran, _ = states(read(["name: list, items: 2", "name: each, over: list"]))
    assert ran == {"list", "each[0]", "each[1]"}
    assert states(read(["name: list, items: 0", "name: each, over: list"])) == ({"list"}, {"each": "skipped"})


def test_agents_pools_and_teardowns_can_be_said():
    """What a DAG knows can be said in a file too."""
    experiment = read(
        [
            "name: up, setup: true",
            "name: think, agent: sage, skill: think, depends_on: [up], priority: 2, timeout: 1m",
            "name: query, pool: db, depends_on: [up]",
            "name: down, teardown_of: [up], depends_on: [think, query], fails_dag: true",
        ],
        "  max_parallel: 2\n  pools: {db: 1}\n  cancel_unneeded: true\n"
        "  agents:\n    - {name: sage, skills: [think], latency: 3s, cost: 0.5, capacity: 1}\n",
    )
    data = run(experiment, 0).run.history[1].data
    assert data["agents"] == {"think": "sage"}
    assert data["pools"] == ["query"]
    assert data["teardowns"] == {"down": {"of": ["up"], "fails_dag": True}}
    assert data["max_parallel"] == 2


def test_a_journal_carries_a_run_over_a_crash():
    """With ``journal: true`` what had ended is not done again; without it, it is."""
    crash = "faults:\n  - crash: {restart_after: 1s}\n    at: {step: b, count: 1}\n"
    for journal, calls in (("  journal: {latency: 2ms}\n", 1), ("", 2)):
        tasks = "  tasks: [{name: a}, {name: b, depends_on: [a]}]\n"
        done = run(load_text(f"{HEAD}{journal}{tasks}{crash}"), 0).run
        assert done.ok
        assert len(done.history.where(kind="effect", name="a")) == calls


@pytest.mark.parametrize(
    ("tasks", "more", "message"),
    [
        (
            ["name: a, pool: db"],
            "  pools: {dbs: 2}\n",
            "5:23: design.tasks[0].pool: unknown pool 'db'",
        ),
        (["name: a, pool: db"], "  pools: {db: 0}\n", "3:15: design.pools.db: must be at least 1, got 0"),
        (["name: a, agent: x"], "", "design.tasks[0].agent: unknown agent 'x'"),
        (
            ["name: a, agent: x, latency: 3s"],
            "  agents: [{name: x}]\n",
            "design.tasks[0].latency: an agent does this task, so 'latency' is said of the agent and not here",
        ),
        (
            ["name: a, agent: x, skill: cook"],
            "  agents: [{name: x, skills: [bake]}]\n",
            "task 'a' of dag 'etl' needs skill 'cook', but agent 'x' can bake",
        ),
        (["name: a, over: b"], "", "design.tasks[0].over: unknown task 'b'"),
        (["name: a", "name: b, teardown_of: [c]"], "", "design.tasks[1].teardown_of[0]: unknown task 'c'"),
        (
            ["name: a, choose: {c: 0.5}", "name: b, depends_on: [a]"],
            "",
            "design.tasks[0].choose.c: unknown task after this one 'c'; allowed: b",
        ),
        (["name: a, trigger_rule: one_sucess"], "", "did you mean 'one_success'?"),
        (["name: a"], "  max_parallel: 0\n", "3:17: design.max_parallel: must be at least 1, got 0"),
        (
            ["name: a", "name: b, depends_on: [a], trigger_rule: all_done"],
            "  fail_fast: true\n",
            "dag 'etl' stops at the first failure",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tasks, more, message):
    """The error names line, column, field, what is wrong and what is right."""
    with pytest.raises(ScenarioError) as caught:
        read(tasks, more)
    assert message in str(caught.value)
