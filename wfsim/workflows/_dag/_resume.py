"""Running again from the failed tasks on: what is kept of an earlier run, and what is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.workflows._dag._result import DAGResult
from wfsim.workflows._naming import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.workflows._dag._plan import Plan
    from wfsim.workflows._dag._result import Instance
    from wfsim.workflows._dag._rules import State


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run takes over: ended tasks by number, and the calls of mapped tasks, None for those to be repeated."""

    tasks: Mapping[int, tuple[State, Any]]
    instances: Mapping[int, Sequence[Instance | None]]


def kept_of(plan: Plan, earlier: DAGResult) -> Kept:
    """Decide what need not be repeated, as Airflow does when failed tasks are cleared.

    Repeated is every task that failed, could not run or was cancelled, and all that comes after one of them;
    and with a repeated task its setups, and their teardowns. Of a mapped task only the calls that did not
    succeed are repeated, if the list is still the same.
    """
    _check_design(plan, earlier)
    states = earlier.states
    again = dict.fromkeys(name for name in plan.names if states.get(name) not in {"success", "skipped"})
    if not again:
        raise DesignError(
            f"the earlier run of dag {plan.name!r} left nothing to repeat; run it without resume= to begin anew"
        )
    grown = 0
    while grown != len(again):
        grown = len(again)
        again |= _drawn_in(plan, again)
    tasks = {at: (states[name], earlier.get(name)) for at, name in enumerate(plan.names) if name not in again}
    instances = {
        at: [one if at in tasks or one.state == "success" else None for one in earlier.instances[name]]
        for at, name in enumerate(plan.names)
        if name in earlier.instances and all(up in tasks for up in plan.ups[at])
    }
    return Kept(tasks, instances)


def _drawn_in(plan: Plan, again: Mapping[str, None]) -> dict[str, None]:
    """Give what has to be repeated because something else is."""
    scopes = plan.scopes
    found: dict[str, None] = {}
    for name in again:
        found |= scopes.after(name)  # also the teardowns of a setup
        if not plan.tasks[plan.number[name]].is_teardown:
            found |= dict.fromkeys(scopes.relevant_setups(name))
    return found


def _check_design(plan: Plan, earlier: object) -> None:
    if not isinstance(earlier, DAGResult):
        raise DesignError(
            f"resume= of dag {plan.name!r} is {type(earlier).__name__}; give it what an earlier settle() gave"
        )
    for name in earlier.states:
        if name not in plan.number:
            raise DesignError(
                f"the earlier run has a task {name!r}, which dag {plan.name!r} has not"
                f"{did_you_mean(name, plan.number) or '; resume with the result of the same design'}"
            )
