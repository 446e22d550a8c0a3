"""The thread of a synchronous activity: what its code is told there, and how a cancellation gets to it.

The SDK raises an error in the thread from outside; it takes effect when what the thread waits for is over. What runs
in a pool of processes is only told, and sends its heartbeats by way of a queue.
"""

from __future__ import annotations

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

import temporalio.activity
import temporalio.exceptions
from temporalio.common import _CompositeEvent
from temporalio.worker._activity import _ThreadExceptionRaiser

from wfsim.kernel import call, check_interruption, raise_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim_temporal.worker import Worker


def raising_in_simulation(real: Callable[[Any], None]) -> Callable[[Any], None]:
    """Give what raises the error that is due to a thread: in a simulated one by the kernel, elsewhere as ever."""

    def raise_if_pending(raiser: Any) -> None:
        ident, error = raiser._thread_id, raiser._pending_exception
        if ident is None or raiser._shield_depth or not error:
            return
        raiser._pending_exception = None
        if not raise_in_thread(ident, error):
            raiser._pending_exception = error
            real(raiser)

    return raise_if_pending


class _Raiser(_ThreadExceptionRaiser):
    """Raises in a simulated thread, wherever it was made."""

    _raise_in_thread_if_pending_unlocked = raising_in_simulation(
        _ThreadExceptionRaiser._raise_in_thread_if_pending_unlocked
    )


_Context: Final = temporalio.activity._Context
_FIELDS: Final = {one.name for one in fields(_Context)}


async def in_own_thread(
    worker: Worker, definition: Any, function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call the function of a synchronous activity in a thread; a cancellation is raised in there, if it may be."""
    is_isolated = not isinstance(worker.config()["activity_executor"], ThreadPoolExecutor)
    raiser = None
    if not (is_isolated or definition.no_thread_cancel_exception):
        raiser = _Raiser()
    context = _context_of_thread(raiser, is_isolated=is_isolated)
    running = asyncio.ensure_future(call(partial(_run, function, context, raiser), *arguments))
    while True:
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.done():
                raise
            if raiser is not None:
                raiser.raise_in_thread(temporalio.exceptions.CancelledError)


def _context_of_thread(raiser: Any, *, is_isolated: bool) -> Any:
    known = _Context.current()
    heartbeat = known.heartbeat

    def beat(*details: Any) -> None:
        if is_isolated:
            pickle.dumps(details)
        if heartbeat is not None:
            heartbeat(*details)
        check_interruption()  # the real thread waits here until the worker has taken it

    told = {name: getattr(known, name) for name in _FIELDS if not name.startswith("_")}
    told["heartbeat"] = beat
    told["shield_thread_cancel_exception"] = raiser and raiser.shielded
    for event in ("cancelled_event", "worker_shutdown_event"):
        told[event] = _CompositeEvent(thread_event=told[event].thread_event, async_event=None)
    if "client" in told:
        told["client"] = None
    if is_isolated:
        told["runtime_metric_meter"] = None
    return _Context(**told)


def _run(function: Callable[..., Any], context: Any, raiser: Any, *arguments: Any) -> Any:
    _Context.set(context)
    if raiser is None:
        return function(*arguments)
    raiser.set_thread_id(get_ident())
    try:
        return function(*arguments)
    finally:
        raiser.set_thread_id(None)
