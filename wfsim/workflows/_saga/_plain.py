"""The common run: steps in a row, in one process, with nothing to remember beyond it."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import CompensationStuck
from wfsim.kernel import perform
from wfsim.workflows._failure import origin_of
from wfsim.workflows._policy import perform_under
from wfsim.workflows._saga._report import tell_way_back

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from wfsim.kernel import span
    from wfsim.workflows._saga._context import Context
    from wfsim.workflows._saga._saga import Saga
    from wfsim.workflows._saga._step import Step

# After these nobody knows whether the step took effect. A lost reply is a TimeoutError, as it is to a client.
UNKNOWN: Final = (TimeoutError, CancelledError)


class PlainRun:
    """One run of a saga: how far it came, and the way back."""

    __slots__ = ("_context", "_done", "_in_doubt", "_saga", "_whole")

    def __init__(self, saga: Saga, context: Context, whole: span, done: list[Step]) -> None:
        self._saga = saga
        self._context = context
        self._whole = whole
        self._done = done
        self._in_doubt = False  # whether a try of the step at hand may have taken effect though it failed

    async def play(self, results: dict[str, Any]) -> dict[str, Any]:
        for step in self._saga.steps:
            self._context.step = step.name
            args = (self._context,) if step.forward_takes_context else ()
            try:
                results[step.name] = await self._forward(step, args)
            except (Exception, CancelledError) as error:
                await self.turn_back(step, error)
                raise
            self._done.append(step)
        return results

    def _forward(self, step: Step, args: tuple[Any, ...]) -> Awaitable[Any]:
        if step.compensate_unknown:
            return self._in_view_of_doubt(step, args)
        return perform_under(step.retry, "forward", self._saga.name, step.name, step.forward, args)

    async def _in_view_of_doubt(self, step: Step, args: tuple[Any, ...]) -> Any:
        """Perform a step and notice whether any try of it, not only the last, ended in doubt."""
        self._in_doubt = False
        design, name = self._saga.name, step.name

        async def attempt(number: int, cause: int | None = None, /) -> Any:
            try:
                return await perform(
                    "forward", design, name, step.forward, *args, attempt=number, cause=cause
                )
            except UNKNOWN:
                self._in_doubt = True
                raise

        return await (attempt(1) if step.retry is None else step.retry.run(attempt, design=design, name=name))

    async def turn_back(self, failed: Step, error: BaseException) -> None:
        """Compensate what was done, the last first. Raise CompensationStuck if something stays undone."""
        self._context.error = error
        if failed.compensate_unknown and self._in_doubt:
            self._done.append(failed)
        undo = [step for step in reversed(self._done) if step.compensate is not None]
        undone: dict[str, Exception] = {}
        left = [step.name for step in undo]
        cause = origin_of(error)
        try:
            for step in undo:
                await self._compensate(step, cause, undone)
                left.remove(step.name)
        finally:  # also when the way back is cancelled, nobody must lose sight of what is left
            names = [step.name for step in undo]
            tell_way_back(self._whole, self._saga.name, failed.name, error, names, [*undone, *left])
        if undone:
            raise CompensationStuck(tuple(undone), next(iter(undone.values())), self._saga.name) from error

    async def _compensate(self, step: Step, cause: int | None, undone: dict[str, Exception]) -> None:
        args: tuple[Any, ...] = ()
        if step.compensate_takes_context:
            self._context.step = step.name
            args = (self._context,)
        fn: Any = step.compensate
        try:
            await perform_under(
                step.compensate_retry, "compensate", self._saga.name, step.name, fn, args, cause
            )
        except Exception as error:  # noqa: BLE001 - the other steps are compensated all the same
            undone[step.name] = error
