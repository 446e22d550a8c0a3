"""What a task's result decides: which tasks a branch chooses, and over which items a task is mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.workflows._dag._task import Task
from wfsim.workflows._naming import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.workflows._dag._plan import Plan


def chosen_by(plan: Plan, at: int, value: Any) -> dict[str, None]:
    """Give the tasks after a branch that may run: those that it chose, and what comes after these anyway.

    Raise DesignError if it chose something else than tasks directly after it.
    """
    choices = [plan.names[down] for down in plan.downs[at]]
    if isinstance(value, bool):
        return dict.fromkeys(choices if value else ())
    chosen: dict[str, None] = {}
    for one in _listed(value):
        name = one.name if isinstance(one, Task) else one
        if name not in choices:
            close = did_you_mean(name, choices) if isinstance(name, str) else ""
            raise DesignError(
                f"branch {plan.names[at]!r} of dag {plan.name!r} chose {name!r}; it can choose from what depends on "
                f"it: {', '.join(choices)}{close}"
            )
        chosen[name] = None
        chosen |= plan.scopes.after(name)
    return chosen


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def items_of(plan: Plan, at: int, value: Any) -> Sequence[Any]:
    """Give the items that a task is mapped over; those of a dict are its pairs. Raise DesignError if there are none."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return value
    task = plan.tasks[at]
    raise DesignError(
        f"task {task.name!r} of dag {plan.name!r} is mapped over the result of {task.over!r}, which is of type "
        f"{type(value).__name__}; let it give a list"
    )
