"""Let Apache Airflow itself run random DAGs, and write down how each task ended.

    AIRFLOW_HOME=/tmp/airflow airflow db migrate
    AIRFLOW_HOME=/tmp/airflow AIRFLOW__CORE__DAGS_FOLDER=$PWD python make_runs.py 220  # writes runs.json

Run it in an environment with ``apache-airflow``. A DAG is data (see ``draw``); the test builds the same one here.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import sys
from pathlib import Path

from airflow import __version__
from airflow.sdk import DAG, TriggerRule, task
from airflow.sdk.exceptions import AirflowSkipException

START = dt.datetime(2029, 1, 1, tzinfo=dt.UTC)
RULES = [rule.value for rule in TriggerRule if rule.value != "all_done_setup_success"]
KINDS = ("ok", "fail", "skip", "branch", "map", "setup")


def draw(seed):
    """A DAG as data: tasks with their kind, their rule and what they depend on; a branch with its choice."""
    chance = random.Random(seed)
    tasks = []
    for number in range(chance.randint(3, 8)):
        name = f"t{number}"
        kind = chance.choices(KINDS, [8, 3, 2, 2, 2, 1])[0]
        known = [one["name"] for one in tasks]
        ups = chance.sample(known, min(len(known), chance.choice([1, 1, 2, 2, 3])))
        rule = chance.choice(RULES) if ups and chance.random() < 0.6 else "all_success"
        if kind == "map":
            size = chance.randint(0, 3)
            tasks.append({"name": f"{name}_list", "kind": "list", "rule": rule, "ups": ups, "size": size})
            bad = [n for n in range(size) if chance.random() < 0.25]
            rule = chance.choice(["all_success", "none_failed", "all_done"])
            tasks.append({"name": name, "kind": "map", "rule": rule, "ups": [f"{name}_list"], "bad": bad})
            continue
        tasks.append({"name": name, "kind": kind, "rule": rule, "ups": ups})
        if kind == "setup":
            bad, fails = chance.random() < 0.3, chance.random() < 0.3
            tasks.append(
                {
                    "name": f"{name}_work",
                    "kind": "fail" if bad else "ok",
                    "rule": "all_success",
                    "ups": [name],
                }
            )
            down = {
                "name": f"{name}_down",
                "kind": chance.choice(["ok", "fail"]),
                "rule": "all_done_setup_success",
            }
            tasks.append({**down, "ups": [name, f"{name}_work"], "teardown_of": name, "fails_dag": fails})
            if chance.random() < 0.5:
                tasks[-3]["kind"] = chance.choice(["setup", "setup_fail", "setup_skip"])
    for one in tasks:
        if one["kind"] == "branch":
            downs = [other["name"] for other in tasks if one["name"] in other["ups"]]
            one["choice"] = [down for down in downs if chance.random() < 0.5]
    return tasks


def operator(one):
    kind = one["kind"]
    options = {"task_id": one["name"], "trigger_rule": one["rule"]}
    if kind == "branch":
        return task.branch(**options)(lambda choice=one["choice"]: choice)()
    if kind == "list":
        return task(**options)(lambda size=one["size"]: list(range(size)))()

    def work():
        if kind in ("fail", "setup_fail"):
            raise RuntimeError(one["name"])
        if kind in ("skip", "setup_skip"):
            raise AirflowSkipException(one["name"])

    return task(**options)(work)()


def build(dag_id, tasks):
    with DAG(dag_id, start_date=START, schedule=None, catchup=False) as dag:
        made = {}
        for one in tasks:
            if one["kind"] == "map":

                def item(n, bad=tuple(one["bad"])):
                    if n in bad:
                        raise RuntimeError(n)

                made[one["name"]] = task(task_id=one["name"], trigger_rule=one["rule"])(item).expand(
                    n=made[one["ups"][0]]
                )
                continue
            made[one["name"]] = operator(one)
            for up in one["ups"]:
                made[up] >> made[one["name"]]
            if one["kind"].startswith("setup"):
                made[one["name"]].operator.is_setup = True
            if "teardown_of" in one:
                made[one["name"]].as_teardown(
                    setups=made[one["teardown_of"]], on_failure_fail_dagrun=one["fails_dag"]
                )
    return dag


DAGS = {}
for _seed in range(int(sys.argv[1]) if __name__ == "__main__" else 400):
    _tasks = draw(_seed)
    _dag = build(f"random_{_seed}", _tasks)
    try:
        _dag.validate()
    except Exception:
        continue
    globals()[f"random_{_seed}"] = _dag
    DAGS[_seed] = (_dag, _tasks)


def main():
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.settings import Session

    logging.disable(logging.CRITICAL)
    found = []
    for number, (seed, (dag, tasks)) in enumerate(DAGS.items()):
        run = dag.test(logical_date=START + dt.timedelta(days=number))
        if number == 0:
            DagBundlesManager.get_all_dag_bundles = lambda _self: []
        states = {}
        for one in sorted(
            run.get_task_instances(session=Session()), key=lambda one: (one.task_id, one.map_index)
        ):
            name = one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]"
            states[name] = str(getattr(one.state, "value", one.state))
        found.append({"seed": seed, "tasks": tasks, "run": str(run.state.value), "states": states})
        print(seed, run.state, file=sys.stderr, flush=True)
    rows = ",\n".join(json.dumps(one) for one in found)
    Path("runs.json").write_text(f'{{"airflow": "{__version__}", "runs": [\n{rows}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
