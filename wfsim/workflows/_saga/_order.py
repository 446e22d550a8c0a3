"""Doing things in a partial order: each as soon as all that it waits for is done, side by side if it may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence


async def in_order(waits_for: Mapping[str, Sequence[str]], act: Callable[[str], Awaitable[Any]]) -> None:
    """Call ``act`` for each name, after it has returned for all those that the name waits for.

    What waits for a name that is not there does not wait. When ``act`` raises, nothing more is started,
    what runs may end, and the first error is raised; the others are told in a note. When the caller is
    cancelled, so is all that runs.
    """
    left = {name: [other for other in others if other in waits_for] for name, others in waits_for.items()}
    running: dict[asyncio.Task[Any], str] = {}
    errors: list[BaseException] = []
    try:
        while left or running:
            ready = [] if errors else [name for name, others in left.items() if not others]
            for name in ready:
                del left[name]
            if len(ready) == 1 and not running:  # the common case, a row: no task is needed
                await act(ready[0])
                _finish(ready[0], left)
                continue
            for name in ready:
                running[asyncio.ensure_future(_as_coroutine(act, name))] = name
            if not running:
                break
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            _collect(running, left, errors)
    except asyncio.CancelledError:
        await _cancel(running)
        raise
    if errors:
        raise _first(errors)


async def _as_coroutine(act: Callable[[str], Awaitable[Any]], name: str) -> Any:
    return await act(name)


def _finish(name: str, left: dict[str, list[str]]) -> None:
    for others in left.values():
        if name in others:
            others.remove(name)


def _collect(
    running: dict[asyncio.Task[Any], str], left: dict[str, list[str]], errors: list[BaseException]
) -> None:
    for task in [task for task in running if task.done()]:
        name = running.pop(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            _finish(name, left)
        else:
            errors.append(error)


async def _cancel(running: dict[asyncio.Task[Any], str]) -> None:
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
        for task in running:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain


def _first(errors: list[BaseException]) -> BaseException:
    first, *others = errors
    for other in others:
        if other is not first:
            first.add_note(f"beside it, this failed too: {type(other).__name__}: {other}")
    return first
