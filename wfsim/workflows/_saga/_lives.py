"""Starting, carrying on and undoing one instance of a saga."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, SagaFailed
from wfsim.kernel import span
from wfsim.workflows._saga._context import Context
from wfsim.workflows._saga._journey import Journey
from wfsim.workflows._saga._log import Log
from wfsim.workflows._saga._plain import PlainRun

if TYPE_CHECKING:
    from wfsim.storage import Journal
    from wfsim.workflows._saga._saga import Saga


async def start(saga: Saga, given: Any, key: str | None, journal: Journal | None) -> dict[str, Any]:
    """Run an instance, or carry it on if the journal knows it."""
    if journal is None and saga.is_plain:
        results: dict[str, Any] = {}
        data = saga.data if key is None else {**saga.data, "key": key}
        with span("saga", saga.name, saga.name, data=data) as whole:
            context = Context(given, results, saga.name, key)
            return await PlainRun(saga, context, whole, []).play(results)
    context, log = await _recall(saga, given, key, journal)
    return await _live(saga, context, log)


async def resume(saga: Saga, key: str, journal: Journal) -> dict[str, Any]:
    """Carry an instance on. Raise DesignError if the journal does not know it."""
    context, log = await _recall(saga, None, key, journal)
    if log.progress.steps is None:
        raise DesignError(f"the journal knows no instance {key!r} of saga {saga.name!r}; start it with run()")
    return await _live(saga, context, log)


async def undo(
    saga: Saga,
    given: Any,
    key: str,
    results: dict[str, Any] | None,
    journal: Journal | None,
    error: BaseException | None,
) -> None:
    """Compensate an instance that has completed, as a whole. To do it again changes nothing."""
    context, log = await _recall(saga, given, key, journal)
    progress, title = log.progress, f"instance {key!r} of saga {saga.name!r}"
    if journal is None and results is not None:
        progress.steps, progress.ended = [step.name for step in saga.steps], "completed"
        progress.done.update(results)
    if progress.steps is None and error is None:
        raise DesignError(f"the journal knows no {title}; nothing of it is there to compensate")
    if progress.steps is None:
        return  # it never began
    if progress.ended is None and progress.turned is None:
        raise DesignError(
            f"{title} has not completed, so it cannot be compensated as a whole; resume it first"
        )
    reason = error if error is not None else SagaFailed(saga.name, "", "compensated after it had completed")
    with span("saga", saga.name, saga.name, data=_data(saga, context, back=True)) as whole:
        await Journey(saga, context, log, whole).turn_back(reason)


async def _recall(saga: Saga, given: Any, key: str | None, journal: Journal | None) -> tuple[Context, Log]:
    """Give the context and the log of an instance, as far as it has come."""
    results: dict[str, Any] = {}
    context = Context(given, results, saga.name, key)
    log = Log(journal, saga.name, context.key)
    log.progress.done = results
    progress = await log.load()
    if progress.steps is not None:
        context.input = progress.given
    return context, log


async def _live(saga: Saga, context: Context, log: Log) -> dict[str, Any]:
    resumed = log.progress.steps is not None
    with span("saga", saga.name, saga.name, data=_data(saga, context, resumed=resumed)) as whole:
        return await Journey(saga, context, log, whole).play()


def _data(saga: Saga, context: Context, **marks: bool) -> dict[str, Any]:
    return {**saga.data, "key": context.key} | {mark: True for mark, given in marks.items() if given}
