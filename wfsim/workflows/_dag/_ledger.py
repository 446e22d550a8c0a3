"""What is written down of a run: how each task ended and why, in the history and in the result."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from wfsim.kernel import event
from wfsim.workflows._dag._result import DAGResult
from wfsim.workflows._failure import note_once, origin_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextvars import Context

    from wfsim.kernel import span
    from wfsim.workflows._dag._agent import Agent
    from wfsim.workflows._dag._plan import Plan
    from wfsim.workflows._dag._result import Instance
    from wfsim.workflows._dag._rules import State


class Ledger:
    """The books of one run."""

    def __init__(self, plan: Plan, whole: span, context: Context) -> None:
        self._plan = plan
        self._whole = whole
        self._context = context
        self.states: list[State | None] = [None] * len(plan.tasks)
        self.values: list[Any] = [None] * len(plan.tasks)
        self._errors: dict[str, BaseException] = {}
        self._roots: dict[int, str] = {}  # a task that failed or could not run -> whose failure began it
        self._skipped: dict[str, None] = {}
        self._lost: dict[str, None] = {}  # skipped because something failed
        self._costs: list[float] = []
        self.result = DAGResult({}, {}, {}, {}, 0.0)

    def tell(
        self, kind: str, name: str, *, data: dict[str, Any], cause: int | None = None, attempt: int = 0
    ) -> None:
        """Record a fact. It belongs to the run, in whose context it is told, and not to the task that ended."""
        if self._whole.index is not None:
            tell = partial(event, kind, name, design=self._plan.name, cause=cause, attempt=attempt, data=data)
            self._context.run(tell)

    def note_error(self, at: int, name: str, error: BaseException) -> None:
        """Note that a task, or one call of a mapped task, has failed."""
        self._errors[name] = error
        self._roots.setdefault(at, name)

    def tell_skip(
        self, at: int, state: State, because: int | None, reason: str | None, name: str | None = None
    ) -> None:
        """Note that a task, or one call of a mapped task, does not run, and record it."""
        plan, root = self._plan, None
        if because is not None and (state == "upstream_failed" or because in self._roots):
            root = self._root_of(at, because)
        data: dict[str, Any] = {"state": state}
        if root is not None:
            self._lost[plan.names[at]] = None
            data["because"] = root
        if state == "upstream_failed" and root is not None:
            self._roots.setdefault(at, root)
        elif root is None:
            data["reason"] = reason or self._reason(at, because)
        name = plan.names[at] if name is None else name
        self._skipped[name] = None
        cause = None if root is None else origin_of(self._errors[root])
        self.tell("skip", name, data=data, cause=cause)

    def tell_cancel(self, name: str, because: int | None, reason: str | None) -> None:
        """Record that a task which runs is cancelled."""
        root = None if because is None else self._roots.get(because)
        data = {"reason": reason} if root is None else {"because": root}
        self.tell("cancel", name, data=data, cause=None if root is None else origin_of(self._errors[root]))

    def _root_of(self, at: int, because: int) -> str | None:
        roots = [self._roots[up] for up in (because, *self._plan.ups[at]) if up in self._roots]
        return roots[0] if roots else None

    def _reason(self, at: int, because: int | None) -> str:
        if because is None:
            return "it was not needed"
        task, other = self._plan.tasks[at], self._plan.names[because]
        ended = {"success": "succeeded", "cancelled": "was cancelled"}.get(
            str(self.states[because]), "was skipped"
        )
        rule = "" if task.trigger_rule == "all_success" else f", and its rule is {task.trigger_rule}"
        return f"{other} {ended}{rule}"

    def pay(self, agent: Agent, name: str, attempt: int, seconds: float) -> None:
        """Note what a try by an agent costs."""
        price = agent.price(seconds)
        if price:
            self._costs.append(price)
            data = {"agent": agent.name, "cost": price}
            self.tell("cost", name, data=data, attempt=attempt)

    # -- the end --

    def close(self, instances: Mapping[int, Sequence[Instance | None]]) -> None:
        """Sum up, when every task has ended."""
        names, states = self._plan.names, self.states
        cost = math.fsum(self._costs)
        self.result = DAGResult(
            {name: self.values[at] for at, name in enumerate(names) if states[at] == "success"},
            {name: states[at] for at, name in enumerate(names)},  # type: ignore[misc]
            self._errors,
            {names[at]: [one for one in each if one is not None] for at, each in instances.items()},
            cost,
        )
        cancelled = [name for at, name in enumerate(names) if states[at] == "cancelled"]
        told = {"failed": list(self._errors), "skipped": list(self._skipped), "cancelled": cancelled}
        data: dict[str, Any] = {key: value for key, value in told.items() if value}
        if cost:
            data["cost"] = cost
        if data:
            self._whole.data = data

    def failure(self, fatal: int | None) -> BaseException | None:
        """Give the error that fails the run, with a note of what else did not happen; None if it succeeded.

        The run fails if a leaf failed or could not run; its error is the first of those that led there. So it
        does if a ``fatal`` failure stopped it, though all the leaves may have been skipped for that.
        """
        bad = [at for at in self._plan.leaves if self.states[at] not in {"success", "skipped"}]
        if not bad and fatal is None:
            return None
        guilty = [self._roots[at] for at in bad if at in self._roots]
        first = next(name for name in self._errors if name in guilty or not guilty)
        error = self._errors[first]
        others = [name for name in self._errors if name != first]
        also = f"; failed too: {', '.join(others)}" if others else ""
        left = f"; skipped: {', '.join(self._lost)}" if self._lost else ""
        note_once(error, f"dag {self._plan.name!r} failed at task {first!r}{also}{left}")
        self.result.error = error
        return error
