"""One run of a DAG: its tasks at work.

Nobody stands by and waits for tasks to end: each, when it ends, tells the tasks after it, and starts those
that can go. So a task costs one light task, and its end wakes nobody who has nothing to do.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError
from wfsim.kernel import now, perform, perform_in, spawn
from wfsim.workflows._dag._choice import chosen_by, items_of
from wfsim.workflows._dag._course import BEGUN, ENDED, Course
from wfsim.workflows._dag._durable import Unit
from wfsim.workflows._dag._ledger import Ledger
from wfsim.workflows._dag._result import Instance, Skipped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.kernel import span
    from wfsim.workflows._dag._durable import Keeper
    from wfsim.workflows._dag._plan import Plan
    from wfsim.workflows._dag._result import DAGResult
    from wfsim.workflows._dag._resume import Kept
    from wfsim.workflows._dag._rules import State

_ANYWHERE: Final = nullcontext()
_WORST_FIRST: Final[tuple[State, ...]] = ("failed", "cancelled", "success", "skipped")


class Run(Course):
    """One run of a DAG. A *unit* is a call of a task: its number, or for a mapped task one number per item."""

    def __init__(
        self,
        plan: Plan,
        given: tuple[Any, ...],
        whole: span,
        kept: Kept | None,
        keeper: Keeper | None = None,
    ) -> None:
        context = copy_context()
        super().__init__(plan, Ledger(plan, whole, context))
        self._context = context
        self._given = given
        self._where = whole.where
        self._kept = kept
        self._keeper = keeper
        self._units: list[tuple[int, int, Any]] = []  # of the calls of mapped tasks: whose, which, the item
        self._running: dict[int, Any] = {}
        self._cancelled: dict[int, tuple[int | None, str | None]] = {}
        self._tried: set[int] = set()  # of the units that have to wait: those that are through; only asked

    async def play(self) -> DAGResult:
        """Run to the end of the last task; raise the error that failed the run."""
        self._begin_first()
        cancelled: CancelledError | None = None
        while self._left:
            self._done = asyncio.get_running_loop().create_future()
            try:
                await self._done
            except CancelledError as error:
                self._abandon("the run was cancelled", everything=cancelled is not None)
                cancelled = error
        self._ledger.close(self._instances)
        if cancelled is not None:
            raise cancelled
        failure = self._ledger.failure(self._fatal)
        if failure is not None:
            raise failure
        return self._ledger.result

    @property
    def result(self) -> DAGResult:
        """What has come of the run, also if it failed."""
        return self._ledger.result

    def _begin_first(self) -> None:
        self._busy = True
        if self._kept is not None:
            self._keep(self._kept)
        for at, task in enumerate(self._plan.tasks):
            if not self._phase[at] and (not self._plan.ups[at] or task.trigger_rule == "always"):
                self._begin(at)
        self._busy = False
        self._spread()

    def _keep(self, kept: Kept) -> None:
        """Take over from an earlier run what is not to be repeated."""
        for at, (state, value) in kept.tasks.items():
            self._phase[at], self._states[at], self._values[at] = ENDED, state, value
            self._left -= 1
        for at in kept.tasks:
            self._no_longer_needs(at)
        for at, (state, value) in kept.tasks.items():
            each = kept.instances.get(at, ())
            if each:
                self._instances[at] = list(each)
            if state == "success" and self._plan.tasks[at].branch:
                self._skip_all_but(at, chosen_by(self._plan, at, value))
            self._expect(at, len(each) - 1 if each else 0)
            states = [one.state for one in each if one is not None] or [state]
            self._reports.extend((at, one, number == len(states)) for number, one in enumerate(states, 1))

    def _drop(self, at: int, because: int | None, reason: str | None) -> None:
        """Cancel a task that runs, do without one that does not."""
        units = [unit for unit in self._running if self._whose(unit)[0] == at]
        for number in [number for number, one in enumerate(self._instances.get(at, ())) if one is None]:
            if not any(self._whose(unit) == (at, number) for unit in units):
                self._give_up(at, number, because, reason)
        if not units:
            self._forgo(at, "skipped", because, reason)
        for unit in units:
            task = self._running[unit]
            self._cancelled[unit] = (because, reason)
            self._ledger.tell_cancel(self._name_of(unit), because, reason)
            task.cancel()
            # One that has not taken its first step never will, and nobody else would hear of it.
            task.add_done_callback(partial(self._reap, unit))

    # -- starting --

    def _begin(self, at: int) -> None:
        self._phase[at] = BEGUN
        self._no_longer_needs(at)
        if self._plan.tasks[at].over is not None:
            self._expand(at)
        elif self._plan.queues_elsewhere[at]:
            self._start(at, self._patiently(at, ()), self._plan.labels[at])
        else:
            self._slots.line_up(self._plan.tasks[at].priority, at)

    def _start_waiting(self, unit: int) -> bool:
        """Start a unit that has got its slot, unless it was given up while it stood in line."""
        plan = self._plan
        if unit >= len(plan.tasks):
            return self._start_call(unit)
        if self._phase[unit] == ENDED:
            return False
        work = self._once(unit) if plan.one_call[unit] else self._patiently(unit, (), has_slot=True)
        self._start(unit, work, plan.labels[unit])
        return True

    def _start_call(self, unit: int) -> bool:
        at, number, item = self._units[unit - len(self._plan.tasks)]
        if self._instances[at][number] is not None:
            return False
        has_slot = not self._plan.queues_elsewhere[at]
        work = self._patiently(unit, (item,), has_slot=has_slot)
        self._start(unit, work, f"{self._plan.labels[at]}[{number}]")
        return True

    def _start(self, unit: int, work: Any, label: str) -> None:
        # In the context in which the run began: what one task sets there is no business of the next.
        self._running[unit] = spawn(work, name=label, context=self._context.copy())

    def _expand(self, at: int) -> None:
        """Make one call of each item of the list that the task is mapped over."""
        plan = self._plan
        source = plan.number[str(plan.tasks[at].over)]
        state = self._states[source]
        if state != "success":
            self._forgo(at, "skipped" if state == "skipped" else "upstream_failed", source)
            return
        try:
            items = items_of(plan, at, self._result_of(source))
        except DesignError as error:
            self._fail(at, plan.names[at], error)
            self._ledger.tell("skip", plan.names[at], data={"state": "failed", "reason": str(error)})
            self._end(at, "failed")
            return
        if not items:
            self._forgo(at, "skipped", source, f"{plan.names[source]} gives no items")
            return
        before = self._kept.instances.get(at, ()) if self._kept is not None else ()
        self._call_each(at, items, before)

    def _call_each(self, at: int, items: Sequence[Any], kept: Sequence[Instance | None]) -> None:
        """Start the calls of a mapped task, save those that succeeded in the run that is resumed."""
        plan, name = self._plan, self._plan.names[at]
        if len(kept) != len(items):  # it is another list
            kept = [None] * len(items)
        done = [one for one in kept if one is not None]
        data = {"over": plan.tasks[at].over, "count": len(items)} | ({"kept": len(done)} if done else {})
        self._ledger.tell("expand", name, data=data)
        self._expect(at, len(items) - 1)
        self._instances[at] = each = list(kept)
        self._reports.extend((at, one.state, False) for one in each if one is not None)
        for number, item in enumerate(items):
            if each[number] is None:
                self._units.append((at, number, item))
                unit = len(plan.tasks) + len(self._units) - 1
                if plan.queues_elsewhere[at]:
                    self._start_call(unit)
                else:
                    self._slots.line_up(plan.tasks[at].priority, unit)

    def _expect(self, at: int, more: int) -> None:
        """Let the tasks after a mapped one wait for each of its calls."""
        for down in self._plan.downs[at] if more else ():
            self._missing[down] += more
            tally = self._tallies.get(down)
            if tally is not None:
                tally.expected += more
                tally.setups += more * self._plan.is_setup[at]

    # -- working --

    async def _once(self, at: int) -> None:
        """Do a task that is one call and has its slot."""
        plan = self._plan
        args = self._args(at) if plan.passes[at] else ()
        try:
            value = await perform_in(self._where, plan.who[at], plan.works[at], args, plan.after_failure[at])
        except (Exception, CancelledError) as error:  # noqa: BLE001 - the run raises it when all has ended
            self._slots.free += 1
            self._failed(at, error)
        else:
            self._slots.free += 1
            self._succeeded(at, value)

    async def _patiently(self, unit: int, item: tuple[Any, ...], *, has_slot: bool = False) -> None:
        """Do a task that may be tried again, or that waits for more than a slot."""
        plan, task = self._plan, self._plan.tasks[self._whose(unit)[0]]
        name, args = self._name_of(unit), self._args(self._whose(unit)[0], *item)

        def attempt(number: int, cause: int | None = None, /) -> Any:
            return self._attempt(unit, name, args, number, cause, has_slot=has_slot and number == 1)

        try:
            value = await (
                attempt(1) if task.retry is None else task.retry.run(attempt, design=plan.name, name=name)
            )
            if self._keeper is not None:
                await self._keeper.done(self._unit(unit), value)
        except (Exception, CancelledError) as error:  # noqa: BLE001 - the run raises it when all has ended
            if self._keeper is not None and isinstance(error, Exception):
                await self._keeper.failed(self._unit(unit), error)
            if unit in self._tried:
                self._failed(unit, error)
            else:
                self._never_began(unit, error)
        else:
            self._succeeded(unit, value)

    async def _attempt(
        self, unit: int, name: str, args: tuple[Any, ...], number: int, cause: int | None, *, has_slot: bool
    ) -> Any:
        at = self._whose(unit)[0]
        task, agent = self._plan.tasks[at], self._plan.agents[at]
        line = agent.line() if agent is not None and agent.capacity else _ANYWHERE
        async with line, task.pool or _ANYWHERE:
            if not has_slot:
                await self._slots.take(task.priority)
            self._tried.add(unit)
            begin = now()
            try:
                async with asyncio.timeout(task.timeout_s) if task.timeout_s else _ANYWHERE:
                    value = await perform(
                        "task",
                        self._plan.name,
                        name,
                        self._plan.works[at],
                        *args,
                        attempt=number,
                        cause=cause,
                    )
            except (Exception, CancelledError):
                self._leave(at, name, number, begin)
                self._spread()
                raise
            self._leave(at, name, number, begin)  # and who is served next is told when the task has ended
            return value

    def _leave(self, at: int, name: str, number: int, begin: float) -> None:
        agent = self._plan.agents[at]
        if agent is not None:
            self._ledger.pay(agent, name, number, now() - begin)
        self._slots.free += 1

    def _args(self, at: int, *item: Any) -> tuple[Any, ...]:
        plan = self._plan
        ups = plan.ups[at]
        if not plan.passes[at]:
            return ()
        if not ups:
            return self._given
        if not self._instances and not item:
            return tuple([self._values[up] for up in ups])
        source = plan.tasks[at].over
        return tuple([item[0] if plan.names[up] == source else self._result_of(up) for up in ups])

    def _result_of(self, at: int) -> Any:
        """Give the result of a task; of a mapped one, those of its calls that have succeeded so far."""
        if at not in self._instances:
            return self._values[at]
        return [one.value for one in self._instances[at] if one is not None and one.state == "success"]

    def _whose(self, unit: int) -> tuple[int, int]:
        known = len(self._plan.tasks)
        return (unit, -1) if unit < known else self._units[unit - known][:2]

    def _unit(self, unit: int) -> Unit:
        at, number = self._whose(unit)
        name, task = self._name_of(unit), self._plan.names[at]
        return Unit(name, task) if number < 0 else Unit(name, task, number, len(self._instances[at]))

    def _name_of(self, unit: int) -> str:
        at, number = self._whose(unit)
        return self._plan.names[at] if number < 0 else f"{self._plan.names[at]}[{number}]"

    # -- ending --

    def _succeeded(self, unit: int, value: Any) -> None:
        del self._running[unit]
        at, number = (unit, -1) if unit < len(self._phase) else self._whose(unit)
        if number >= 0:
            skipped = value.__class__ is Skipped
            if skipped:
                self._ledger.tell_skip(at, "skipped", None, value.skipped, self._name_of(unit))
            one = Instance("skipped") if skipped else Instance("success", value)
            self._end_instance(at, number, one)
        elif value.__class__ is Skipped:
            self._forgo(at, "skipped", None, value.skipped)
        else:
            self._values[at] = value
            if self._plan.tasks[at].branch:
                self._choose(at, value)
            else:
                self._end(at, "success")
        self._spread()

    def _failed(self, unit: int, error: BaseException) -> None:
        del self._running[unit]
        at, number = self._whose(unit)
        cancelled = unit in self._cancelled and isinstance(error, CancelledError)
        state: State = "cancelled" if cancelled else "failed"
        if not cancelled:
            self._fail(at, self._name_of(unit), error)
        if number < 0:
            self._end(at, state)
        else:
            self._end_instance(at, number, Instance(state))
        self._spread()

    def _reap(self, unit: int, _task: object) -> None:
        """End a task that was cancelled before its first step."""
        if unit in self._running:
            if not self._plan.queues_elsewhere[self._whose(unit)[0]]:
                self._slots.free += 1
            self._never_began(unit, CancelledError())

    def _never_began(self, unit: int, error: BaseException) -> None:
        """End a unit that got no further than the line before a pool, an agent or a slot."""
        if unit not in self._cancelled or not isinstance(error, CancelledError):
            self._failed(unit, error)
            return
        del self._running[unit]
        at, number = self._whose(unit)
        self._give_up(at, number, *self._cancelled[unit])
        self._spread()

    def _give_up(self, at: int, number: int, because: int | None, reason: str | None) -> None:
        """Do without a task, or without one call of a mapped one."""
        if number < 0:
            self._forgo(at, "skipped", because, reason)
        else:
            self._ledger.tell_skip(at, "skipped", because, reason, f"{self._plan.names[at]}[{number}]")
            self._end_instance(at, number, Instance("skipped"))

    def _end_instance(self, at: int, number: int, ended: Instance) -> None:
        each = self._instances[at]
        each[number] = ended
        last = None not in each
        if last:
            states = [one.state for one in each if one is not None]
            self._values[at] = self._result_of(at)
            self._note_end(at, next(state for state in _WORST_FIRST if state in states))
        self._reports.append((at, ended.state, last))
