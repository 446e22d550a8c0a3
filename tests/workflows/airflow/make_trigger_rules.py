"""Ask Apache Airflow itself what becomes of a task, for every trigger rule and every way its upstreams may end.

    AIRFLOW_HOME=/tmp/airflow python make_trigger_rules.py > trigger_rules.json

Run it in an environment with ``apache-airflow-core``. It calls Airflow's own ``TriggerRuleDep`` with stand-ins for
the task and its upstreams, so it needs no database.
"""

# ruff: noqa: ARG005 - the stand-ins take what Airflow gives them

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

from airflow import __version__
from airflow.task.trigger_rule import TriggerRule
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep

STATES = ("success", "failed", "skipped", "upstream_failed", None)
MOST = 4


def upstream(number, state, is_setup):
    task = SimpleNamespace(task_id=f"u{number}", is_setup=is_setup, get_needs_expansion=lambda: False)
    return SimpleNamespace(task=task, task_id=task.task_id, state=state, map_index=-1)


def ask(rule, states, setups):
    """What Airflow decides: "wait", "run", or the state that it gives the task."""
    ups = [upstream(n, state, n in setups) for n, state in enumerate(states)]
    given = []
    task = SimpleNamespace(
        upstream_task_ids={up.task_id for up in ups},
        upstream_list=[up.task for up in ups],
        trigger_rule=rule,
        is_teardown=False,
        dag=None,
        get_upstreams_only_setups=list,
        get_closest_mapped_task_group=lambda: None,
        get_flat_relative_ids=lambda upstream: set(),
    )
    instance = SimpleNamespace(
        task=task,
        map_index=-1,
        set_state=lambda state, session=None: given.append(state) or True,
        get_dagrun=lambda session=None: None,
    )
    context = SimpleNamespace(
        flag_upstream_failed=True,
        wait_for_past_depends_before_skipping=False,
        have_changed_ti_states=False,
        ensure_finished_tis=lambda _run, session=None: [up for up in ups if up.state is not None],
    )
    statuses = list(TriggerRuleDep()._get_dep_statuses(instance, context, session=None))
    if given:
        return str(given[0].value)
    return "run" if all(status.passed for status in statuses) else "wait"


LETTERS = {"success": "s", "failed": "f", "skipped": "k", "upstream_failed": "u", None: "."}
KEY = "s success, f failed, k skipped, u upstream_failed, . not ended: one for each upstream; capitals, :, are setups"


def key_of(states, setups):
    letters = [LETTERS[state] for state in states]
    return "".join(
        letter.upper().replace(".", ":") if number in setups else letter
        for number, letter in enumerate(letters)
    )


def main():
    rules = {rule.value: {} for rule in TriggerRule}
    for rule in TriggerRule:
        for count in range(MOST + 1):
            for states in itertools.combinations_with_replacement(STATES, count):
                rules[rule.value][key_of(states, ())] = ask(rule, states, ())
    rule = TriggerRule.ALL_DONE_SETUP_SUCCESS
    for count in range(1, MOST + 1):
        for states in itertools.product(STATES, repeat=count):
            for setups in map(range, range(1, min(count, 3) + 1)):
                if list(states[len(setups) :]) == sorted(states[len(setups) :], key=STATES.index):
                    rules[rule.value][key_of(states, setups)] = ask(rule, states, setups)
    print(json.dumps({"airflow": __version__, "key": KEY, "rules": rules}, indent=0))


main()
