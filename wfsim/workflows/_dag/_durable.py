"""What makes a run of a DAG durable: what a task has come to is in a journal before anything follows from it.

A record is one of these:

- ``started``: the tasks there are, and the input.
- ``done``, ``skipped``: a task, or one call of a mapped one, has done its work (and said that there was none).
- ``failed``: it has failed for good.
- ``resumed``: these tasks are run again although they had ended, because one before them is.
- ``finished``: the run has ended and was a success; how each task ended.

What a trigger rule decides is not written down: it follows from the rest, and is decided again.
"""

from __future__ import annotations

from asyncio import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.history import describe_error
from wfsim.kernel import fault_point
from wfsim.workflows._dag._result import DAGResult, Instance, Skipped
from wfsim.workflows._dag._resume import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.storage import Journal
    from wfsim.workflows._dag._plan import Plan


@dataclass(frozen=True, slots=True)
class Unit:
    """A task that is one call, or one ``call`` ``of`` so many of a mapped task."""

    name: str
    task: str
    call: int = -1
    of: int = 0

    def describe(self) -> dict[str, Any]:
        """Say which it is, as a record does."""
        which = {} if self.call < 0 else {"call": self.call, "of": self.of}
        return {"task": self.task, **which}


@dataclass(slots=True)
class _Past:
    """What a journal says of one task."""

    ended: Instance | None = None
    failed: bool = False
    calls: dict[int, Instance] = field(default_factory=dict)
    count: int = 0

    def note(self, record: Mapping[str, Any]) -> None:
        what = record["what"]
        if what == "failed":
            self.failed = True
            return
        self.failed = False
        one = Instance("success", record.get("value")) if what == "done" else Instance("skipped")
        if "call" not in record:
            self.ended = one
            return
        self.calls[record["call"]], self.count = one, record["of"]
        if len(self.calls) == self.count:
            self.ended = self._joined()

    def _joined(self) -> Instance:
        values = [one.value for one in self.in_order() if one is not None and one.state == "success"]
        return Instance("success", values) if values else Instance("skipped")

    def in_order(self) -> list[Instance | None]:
        """Give how each call of a mapped task ended, None for those that have not."""
        return [self.calls.get(number) for number in range(self.count)]


class Keeper:
    """Writes the records of one run, and tells from them what need not be done again.

    Each record passes two fault points of the kind of the record, with the DAG as design and the task (of a mapped
    one the call: ``resize[3]``; else the DAG) as name:
    "journal" before it is written, "journalled" when it is durable.
    """

    def __init__(self, journal: Journal, plan: Plan, key: str) -> None:
        self.key = key
        self.finished: DAGResult | None = None
        """What an earlier life has come to, if it succeeded."""
        self.kept: Kept | None = None
        """What is taken over from earlier lives; None in the first."""
        self._journal = journal
        self._plan = plan
        self._past = {name: _Past() for name in plan.names}
        self._again: list[str] = []

    # -- reading --

    async def load(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Read what earlier lives have written; give the input, which is that of the first."""
        records = await self._journal.read(self._file)
        if not records:
            return given
        self._check_design(records[0])
        for record in records:
            self._take(record)
        if self.finished is None:
            self._decide()
        return tuple(records[0]["input"])

    @property
    def _file(self) -> str:
        return f"{self._plan.name}/{self.key}"

    def _check_design(self, started: Mapping[str, Any]) -> None:
        begun, now = started["tasks"], list(self._plan.names)
        if begun != now:
            raise DesignError(
                f"dag {self._plan.name!r} has the tasks {', '.join(now)}, but run {self.key!r} began with "
                f"{', '.join(begun)}; let old runs end with the old design, or rename the new one"
            )

    def _take(self, record: Mapping[str, Any]) -> None:
        what = record["what"]
        if what == "resumed":
            self._past |= {name: _Past() for name in record["again"]}
        elif what == "finished":
            self.finished = self._result(record["states"])
        elif what != "started":
            self._past[record["task"]].note(record)

    def _result(self, states: Mapping[str, Any]) -> DAGResult:
        past = self._past
        values = {name: past[name].ended.value for name, state in states.items() if state == "success"}  # type: ignore[union-attr]
        calls = {name: [one for one in each.in_order() if one] for name, each in past.items() if each.calls}
        return DAGResult(values, states, {}, calls, 0.0)

    def _decide(self) -> None:
        """Sort what is kept from what is run (again)."""
        plan, past = self._plan, self._past
        again = self._to_run()
        self._again = [name for name in again if past[name].ended is not None]
        kept = {at: past[name].ended for at, name in enumerate(plan.names) if name not in again}
        calls = {
            at: past[name].in_order()
            for at, name in enumerate(plan.names)
            if past[name].calls and name not in self._again
        }
        self.kept = Kept({at: (one.state, one.value) for at, one in kept.items() if one is not None}, calls)

    def _to_run(self) -> dict[str, None]:
        """Give the tasks to run: what has not ended, and what has to be repeated because something else is.

        After a task that failed, and is tried once more, all is run again that comes after it. After one that was
        cut off nothing is: whatever ran did not wait for it.
        """
        plan, past = self._plan, self._past
        found = dict.fromkeys(name for name in plan.names if past[name].ended is None)
        grown = -1
        while grown != len(found):
            grown = len(found)
            for name in list(found):
                if past[name].failed or past[name].ended is not None:
                    found |= plan.scopes.after(name)
                if not plan.tasks[plan.number[name]].is_teardown:
                    found |= dict.fromkeys(filter(self._is_torn_down, plan.scopes.relevant_setups(name)))
        return found

    def _is_torn_down(self, setup: str) -> bool:
        ends = [name for name, setups in self._plan.scopes.teardowns.items() if setup in setups]
        return any(self._past[name].failed or self._past[name].ended is not None for name in ends)

    # -- writing --

    async def begin(self, given: tuple[Any, ...]) -> None:
        """Record that a run begins, or what of it is run again."""
        name = self._plan.name
        if self.kept is None:
            await self._write(
                name, {"what": "started", "tasks": list(self._plan.names), "input": list(given)}
            )
        elif self._again:
            await self._write(name, {"what": "resumed", "again": self._again})

    async def done(self, unit: Unit, value: Any) -> None:
        """Record that a task, or one call of a mapped one, has done its work."""
        skipped = value.__class__ is Skipped
        came = {"what": "skipped", "reason": value.skipped} if skipped else {"what": "done", "value": value}
        await self._write(unit.name, came | unit.describe())

    async def failed(self, unit: Unit, error: BaseException) -> None:
        """Record that it has failed. If not even that can be written, its own error is what counts."""
        try:
            await self._write(unit.name, {"what": "failed", **unit.describe(), **describe_error(error)})
        except (Exception, CancelledError) as failure:  # noqa: BLE001 - told in a note
            error.add_note(f"the journal could not take it down: {failure!r}")

    async def finish(self, result: DAGResult) -> None:
        """Record that the run was a success."""
        await self._write(self._plan.name, {"what": "finished", "states": result.states})

    async def _write(self, name: str, record: Mapping[str, Any]) -> None:
        design, what = self._plan.name, record["what"]
        await fault_point("journal", kind=what, design=design, name=name)
        try:
            await self._journal.append(self._file, record)
        except DesignError as error:
            error.add_note(
                f"a DAG with a journal keeps its input and the result of each task ({name!r}) in it"
            )
            raise
        await fault_point("journalled", kind=what, design=design, name=name)
