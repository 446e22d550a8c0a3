"""The run of a saga that has more than steps in a row: a journal, a pivot, branches, locks, time limits."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, NoReturn

from wfsim.errors import CompensationStuck, CompletionStuck, DesignError, SagaFailed
from wfsim.kernel import perform
from wfsim.units import NS_PER_SECOND
from wfsim.workflows._failure import note_once, origin_of
from wfsim.workflows._saga._attempts import Attempts
from wfsim.workflows._saga._log import Log, in_words
from wfsim.workflows._saga._order import in_order
from wfsim.workflows._saga._report import tell_way_back
from wfsim.workflows._wallclock import wall_ns

if TYPE_CHECKING:
    from wfsim.kernel import span
    from wfsim.workflows._saga._context import Context
    from wfsim.workflows._saga._saga import Saga
    from wfsim.workflows._saga._step import Step


class Journey:
    """One life of one instance of a saga: from where the last one ended, forward or back."""

    __slots__ = ("_context", "_deadline", "_failed", "_log", "_saga", "_until_ns", "_whole")

    def __init__(self, saga: Saga, context: Context, log: Log, whole: span) -> None:
        self._saga = saga
        self._context = context
        self._log = log
        self._whole = whole
        self._failed = ""
        self._deadline: asyncio.Timeout | None = None
        self._until_ns: int | None = None  # when the time of an instance that an earlier life began is over

    async def play(self) -> dict[str, Any]:
        """Bring the instance to its end. Give the results by step, or raise what went wrong."""
        progress = self._log.progress
        self._check_design()
        if progress.steps is None:
            await self._begin()
        elif self._saga.timeout_s is not None and progress.began_ns is not None:
            self._until_ns = progress.began_ns + round(self._saga.timeout_s * NS_PER_SECOND)
        if progress.ended is not None:
            return self._told_again()
        if progress.turned is not None:
            await self._go_back(_failure(self._saga.name, progress.turned))
        try:
            await self._go_forward()
        except CompletionStuck:
            self._tell_unfinished()
            raise
        except (Exception, CancelledError) as error:
            await self._give_up(error)
            raise
        await self._log.write("completed")
        await self._let_go(changed=True)
        return self._results()

    async def _begin(self) -> None:
        names = [step.name for step in self._saga.steps]
        since: dict[str, Any] = {} if self._saga.timeout_s is None else {"began_ns": wall_ns()}
        await self._log.write("started", steps=names, input=self._context.input, **since)

    async def _go_back(self, error: BaseException) -> NoReturn:
        await self.turn_back(error)
        raise error

    async def _give_up(self, error: BaseException) -> None:
        """Turn back, unless something stands that nothing can undo."""
        if not self._cannot_turn_back():
            await self.turn_back(error)
            return
        unfinished = self._tell_unfinished()
        note_once(error, f"saga {self._saga.name!r} is past its pivot; unfinished: {', '.join(unfinished)}")
        if not isinstance(error, CancelledError):
            raise CompletionStuck(unfinished, error, self._saga.name) from error

    def _results(self) -> dict[str, Any]:
        return {step.name: self._log.progress.done[step.name] for step in self._saga.steps}

    def _check_design(self) -> None:
        """Refuse to carry on what was begun by a saga with other steps."""
        begun, now = self._log.progress.steps, [step.name for step in self._saga.steps]
        if begun is not None and begun != now:
            raise DesignError(
                f"saga {self._saga.name!r} has the steps {', '.join(now)}, but instance {self._context.key!r} began "
                f"with {', '.join(begun)}; let old instances end with the old design, or rename the new one"
            )

    def _told_again(self) -> dict[str, Any]:
        """Give the outcome of an instance that has ended already; it is not run a second time."""
        progress = self._log.progress
        self._whole.data = {"told_again": True}
        if progress.ended == "completed":
            return self._results()
        raise _failure(self._saga.name, progress.turned or {})

    # -- forward

    async def _go_forward(self) -> None:
        progress = self._log.progress
        if progress.failed and not self._cannot_turn_back():
            # An earlier life ended between the failure and the turn.
            await self._settle()
            raise _failure(self._saga.name, next(iter(progress.failed.values())))
        limit = None if self._cannot_turn_back() else await self._time_left()
        self._deadline = deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                await in_order(self._left(), self._forward)
        except TimeoutError:
            if not (deadline.expired() and self._cannot_turn_back()):
                raise
            await in_order(self._left(), self._forward)  # it passed the pivot at the very last moment

    async def _time_left(self) -> float | None:
        """Give the seconds that the way forward may still take, None for any. Raise TimeoutError if there are none.

        Time counts from the first life on. What that was in the middle of is settled first, however late it is: it
        may have taken effect, and only its own reply can say so.
        """
        if self._until_ns is None:
            return self._saga.timeout_s
        await self._settle()
        if self._cannot_turn_back():
            return None
        left_ns = self._until_ns - wall_ns()
        if left_ns <= 0:
            raise TimeoutError(f"the time of saga {self._saga.name!r} was over when its process came back")
        return left_ns / NS_PER_SECOND

    async def _settle(self) -> None:
        """Find out what became of the steps that an earlier life was in the middle of; begin nothing more."""
        await in_order({name: () for name in self._left() if self._is_open(name)}, self._forward)

    def _left(self) -> dict[str, tuple[str, ...]]:
        done = self._log.progress.done
        return {step.name: step.after for step in self._saga.steps if step.name not in done}

    def _is_open(self, name: str) -> bool:
        progress = self._log.progress
        return name in progress.begun and name not in progress.failed

    async def _forward(self, name: str) -> None:
        try:
            await self._step(self._saga.step(name))
        except (Exception, CancelledError):
            self._failed = self._failed or name
            raise

    async def _step(self, step: Step) -> None:
        context, log = self._context.at(step.name), self._log
        cut_off = self._is_open(step.name)  # an earlier life may have done it, whatever comes of this try
        if not cut_off or step.reads:
            read = _records(step.reads, context)
            seen = {f"{claim.table.name}/{one}": claim.table.version(one) for claim, one in read}
            await log.write("begun", step.name, **({"seen": seen} if seen else {}))
        args = (context,) if step.forward_takes_context else ()
        tries = Attempts("forward", self._saga.name, step.name, step.forward, args, timeout_s=step.timeout_s)
        try:
            await self._lock(step, context)
            value = await tries.under(step.retry)
        except CompletionStuck:
            raise
        except (Exception, CancelledError) as error:
            told = {"error": in_words(error), "in_doubt": tries.in_doubt, "cut_off": cut_off}
            await log.write("failed", step.name, **told)
            raise
        await log.write("done", step.name, value=value)
        if self._deadline is not None and not step.leaves_no_trace and not self._deadline.expired():
            self._deadline.reschedule(None)  # past the pivot a saga can only go on, however long it takes

    async def _lock(self, step: Step, context: Context) -> None:
        for claim, record in _records(step.locks, context):
            seen = self._log.progress.seen.get(f"{claim.table.name}/{record}")
            holder = f"{self._saga.name}/{context.key}"
            take, told = claim.table.take, {"holder": holder, "when_locked": claim.when_locked}
            await perform("lock", claim.table.name, record, take, record, holder, claim, seen, data=told)

    # -- no way back

    def _cannot_turn_back(self) -> bool:
        """Tell whether something stands, or may stand, that nothing can undo."""
        return any(self._is_beyond(step) for step in self._saga.steps)

    def _is_beyond(self, step: Step) -> bool:
        progress = self._log.progress
        if step.leaves_no_trace:
            return False
        doubtful = step.pivot and progress.failed.get(step.name, {}).get("in_doubt", False)
        return step.name in progress.done or doubtful

    def _tell_unfinished(self) -> tuple[str, ...]:
        """Say in the history what is still to be done."""
        unfinished = tuple(self._left())
        self._whole.data = {"failed": self._failed, "unfinished": list(unfinished)}
        return unfinished

    # -- back

    async def turn_back(self, error: BaseException) -> None:
        """Compensate what was done, in the reverse of the order in which it was done.

        Raise CompensationStuck if something stays undone.
        """
        progress = self._log.progress
        if progress.turned is None:
            await self._log.write("turned", self._failed, error=in_words(error))
        failed = str(progress.turned and progress.turned.get("step", "")) or self._failed
        undo = [step for step in reversed(self._saga.steps) if self._must_undo(step)]
        due = {step.name: self._compensated_before(step, undo) for step in undo}
        undone: dict[str, Exception] = {}
        cause = origin_of(error)

        async def act(name: str) -> None:
            await self._compensate(name, error, cause, undone)

        try:
            await in_order(due, act)
        finally:  # also when the way back is cancelled, nobody must lose sight of what is left
            left = [name for name in due if name not in progress.compensated]
            tell_way_back(self._whole, self._saga.name, failed, error, list(due), left)
        if undone:
            raise CompensationStuck(tuple(undone), next(iter(undone.values())), self._saga.name) from error
        await self._log.write("undone")
        await self._let_go(changed=False)

    def _must_undo(self, step: Step) -> bool:
        progress = self._log.progress
        if step.compensate is None or step.name in progress.compensated:
            return False
        failed = progress.failed.get(step.name)
        half_done = failed is not None and (
            not step.atomic or (step.compensate_unknown and (failed["in_doubt"] or failed["cut_off"]))
        )
        return step.name in progress.done or half_done

    def _compensated_before(self, step: Step, undo: list[Step]) -> list[str]:
        """Give the steps that came after this one, and so are undone before it."""
        return [other.name for other in undo if step.name in self._saga.befores[other.name]]

    async def _compensate(
        self, name: str, error: BaseException, cause: int | None, undone: dict[str, Exception]
    ) -> None:
        step, log, design = self._saga.step(name), self._log, self._saga.name
        if name not in log.progress.compensating:
            await log.write("compensating", name)
        args = (self._context.at(name, error=error),) if step.compensate_takes_context else ()
        fn: Any = step.compensate
        tries = Attempts(
            "compensate", design, name, fn, args, timeout_s=step.compensate_timeout_s, cause=cause
        )
        try:
            await tries.under(step.compensate_retry)
        except Exception as failure:  # noqa: BLE001 - the other steps are compensated all the same
            undone[name] = failure
            await log.write("stuck", name, error=in_words(failure))
        else:
            await log.write("compensated", name)

    # -- the end

    async def _let_go(self, *, changed: bool) -> None:
        """Give back the records that the instance holds, also those that an earlier life took."""
        holder = f"{self._saga.name}/{self._context.key}"
        for table in {
            id(claim.table): claim.table for step in self._saga.steps for claim in step.locks
        }.values():
            for record in [record for record, other in table.held.items() if other == holder]:
                await table.give_back(record, holder, changed=changed)


def _records(claims: Any, context: Context) -> list[tuple[Any, str]]:
    return [(claim, record) for claim in claims for record in claim.records(context)]


def _failure(saga: str, told: Any) -> SagaFailed:
    """Make the error of an earlier life again, as far as the journal knows it."""
    return SagaFailed(saga, str(told.get("step", "")), str(told.get("error", "")))
