"""The course of a run: what the end of one task means for the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Final

from wfsim.errors import DesignError
from wfsim.workflows._dag._choice import chosen_by
from wfsim.workflows._dag._rules import decide
from wfsim.workflows._dag._slots import Slots

if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from wfsim.workflows._dag._ledger import Ledger
    from wfsim.workflows._dag._plan import Plan
    from wfsim.workflows._dag._result import Instance
    from wfsim.workflows._dag._rules import State

# What has become of a task so far.
OPEN: Final = 0  # it waits for others
BEGUN: Final = 1  # it is to run: it stands in line, or runs
ENDED: Final = 2


class Course(ABC):
    """Decides which task runs and which does not; how a task is run is the business of :class:`Run`."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan = plan
        self._ledger = ledger
        self._states = ledger.states
        self._values = ledger.values
        self._phase = bytearray(len(plan.tasks))
        self._missing = [len(ups) for ups in plan.ups]
        self._tallies = plan.tallies()
        self._guards = list(plan.guards)
        self._scoped = list(plan.scoped)
        self._needs = plan.needs() if plan.options.cancel_unneeded else None
        self._instances: dict[int, list[Instance | None]] = {}
        self._slots = Slots(plan.options.max_parallel)
        self._reports: deque[tuple[int, State, bool]] = deque()
        self._left = len(plan.tasks)
        self._busy = False
        self._stopped = False
        self._fatal: int | None = None  # the task whose failure stops the run
        self._done: asyncio.Future[None] | None = None

    @abstractmethod
    def _begin(self, at: int) -> None:
        """Let a task run: its rule says so."""

    @abstractmethod
    def _start_waiting(self, unit: int) -> bool:
        """Start what has stood in line for a slot; False if it does not want one any more."""

    @abstractmethod
    def _drop(self, at: int, because: int | None, reason: str | None) -> None:
        """Cancel a task that runs, do without one that does not."""

    def _end(self, at: int, state: State) -> None:
        self._note_end(at, state)
        self._reports.append((at, state, True))

    def _note_end(self, at: int, state: State) -> None:
        self._phase[at] = ENDED
        self._states[at] = state
        self._left -= 1

    def _spread(self) -> None:
        """Tell the tasks after each that has ended, and start what can go. It never runs inside itself."""
        if self._busy:
            return
        self._busy = True
        reports, watched = self._reports, self._plan.watched
        serve, start = self._slots.serve, self._start_waiting
        going = True
        while going:
            if self._fatal is not None and not self._stopped:
                self._abandon(None, self._fatal)
            while reports:
                at, state, last = reports.popleft()
                self._tell(at, state)
                if last and at in watched:
                    self._release(at, state)
            going = serve(start)
        self._busy = False
        if not self._left and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _tell(self, at: int, state: State) -> None:
        """Tell the tasks after one, most of which only count how many they still have to wait for."""
        alone, missing = self._plan.counts_alone, self._missing
        for down in self._plan.downs[at]:
            if not alone[down]:
                self._weigh(down, at, state)
            elif state != "success":
                self._forgo(down, "skipped" if state == "skipped" else "upstream_failed", at)
            elif missing[down] > 1:
                missing[down] -= 1
            elif not self._phase[down]:
                self._begin(down)

    def _weigh(self, at: int, up: int, state: State) -> None:
        if self._phase[at] == OPEN:
            self._tallies[at].count(state, is_setup=self._plan.is_setup[up])
            self._consider(at, up)

    def _consider(self, at: int, because: int) -> None:
        """Let the trigger rule decide. What lives on a setup, and a teardown, may have to wait all the same."""
        task = self._plan.tasks[at]
        decision = decide(task.trigger_rule, self._tallies[at])
        if decision == "run":
            ready = not self._guards[at] and not self._scoped[at]
            if ready and (task.over is None or self._phase[self._plan.number[str(task.over)]] == ENDED):
                self._begin(at)
        elif decision != "wait":
            self._forgo(at, decision, because)

    def _release(self, at: int, state: State) -> None:
        """Tell those that live on a setup which they do not depend on directly, and the teardowns after it."""
        plan = self._plan
        for down in plan.guarded.get(at, ()):
            self._guards[down] -= 1
            if self._phase[down] == OPEN:
                if state == "success":
                    self._consider(down, at)
                else:
                    self._forgo(down, "skipped" if state == "skipped" else "upstream_failed", at)
        for down in plan.in_scope_of.get(at, ()):
            self._scoped[down] -= 1
            if self._phase[down] == OPEN:
                self._consider(down, at)

    def _forgo(self, at: int, state: State, because: int | None = None, reason: str | None = None) -> None:
        """Do without a task."""
        if self._phase[at] != ENDED:
            self._ledger.tell_skip(at, state, because, reason)
            undecided = self._phase[at] == OPEN
            self._end(at, state)
            if undecided:
                self._no_longer_needs(at)

    def _no_longer_needs(self, at: int) -> None:
        """Note that a task is decided. What no undecided task needs any more is cancelled, if so wished."""
        if self._needs is None or self._plan.tasks[at].is_teardown:
            return
        for up in self._plan.ups[at]:
            self._needs[up] -= 1
            if not self._needs[up] and not self._plan.is_setup[up] and not self._plan.tasks[up].is_teardown:
                self._drop(up, None, "nothing needs it any more")

    def _abandon(self, reason: str | None, because: int | None = None, *, everything: bool = False) -> None:
        """Stop: cancel what runs and skip what does not; teardowns are spared unless it is everything."""
        self._stopped = True
        busy, self._busy = self._busy, True
        for at, task in enumerate(self._plan.tasks):
            if self._phase[at] != ENDED and (everything or not task.is_teardown):
                self._drop(at, because, reason)
        self._busy = busy
        self._spread()

    def _fail(self, at: int, name: str, error: BaseException) -> None:
        self._ledger.note_error(at, name, error)
        if self._plan.options.fail_fast and not self._stopped and not self._plan.tasks[at].is_teardown:
            self._fatal = at

    def _choose(self, at: int, value: Any) -> None:
        """Let a branch have its way; it has failed if it chose what is not there to be chosen."""
        try:
            chosen = chosen_by(self._plan, at, value)
        except DesignError as error:
            self._fail(at, self._plan.names[at], error)
            self._end(at, "failed")
        else:
            self._end(at, "success")
            self._skip_all_but(at, chosen)

    def _skip_all_but(self, at: int, chosen: dict[str, None]) -> None:
        plan = self._plan
        for down in plan.downs[at]:
            spared = plan.names[down] in chosen or plan.tasks[down].is_teardown
            if not spared and self._phase[down] == OPEN:
                self._forgo(down, "skipped", at, f"{plan.names[at]} did not choose it")
