"""The SDK's environment for one attempt of an activity, made in a fifth of its time.

Each attempt has its own. Few of them ask for their info, or wait for their cancellation, so what that needs is made
for those that do.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import fields, is_dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

import temporalio.activity
import temporalio.common
from temporalio.testing import ActivityEnvironment

from wfsim_temporal.wire import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from temporalio.converter import DataConverter

    from wfsim_temporal.worker import Worker

_TEMPLATE: Final = ActivityEnvironment()
_INFO_FIELDS: Final = {one.name for one in fields(temporalio.activity.Info)}
# What the SDK's environment gives to the code it runs; so whatever a release adds is there too.
_CONTEXT: Final = _TEMPLATE.run(temporalio.activity._Context.current)


class _Event(temporalio.common._CompositeEvent):
    """The SDK's, with events that are made when somebody first wants them."""

    def __init__(self) -> None:
        """Make neither event."""

    def __getattr__(self, name: str) -> Any:
        if name == "thread_event":
            self.thread_event = threading.Event()
            return self.thread_event
        if name == "async_event":
            self.async_event = asyncio.Event()
            return self.async_event
        raise AttributeError(name)


class _Running:
    """An async function in an environment, as the environment's ``cancel`` and ``worker_shutdown`` reach it."""

    __slots__ = ("_context", "_task")

    def __init__(self, context: Any, task: asyncio.Task[Any] | None) -> None:
        self._context = context
        self._task = task

    def cancel(self) -> None:
        self._context.cancelled_event.set()
        if self._task is not None:
            self._task.cancel()

    def worker_shutdown(self) -> None:
        self._context.worker_shutdown_event.set()


class Environment(ActivityEnvironment):
    """The SDK's, but that ``info`` is what ``tell`` says when somebody first asks.

    Async functions run in the task that awaits ``run``, as in the SDK's worker, and not in one of their own.
    """

    tell: Callable[[], Mapping[str, Any]]
    _told: temporalio.activity.Info | None

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function in the activity's context."""
        return (
            self._run_here(fn, *args, **kwargs)
            if iscoroutinefunction(fn)
            else super().run(fn, *args, **kwargs)
        )

    async def _run_here(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._cancelled:
            raise asyncio.CancelledError  # a task that is cancelled before it begins runs nothing
        context = self._new_context()
        running: Any = _Running(context, asyncio.current_task())
        if self._worker_shutdown:
            running.worker_shutdown()
        self._activities.add(running)
        token = temporalio.activity._Context.set(context)
        try:
            return await function(*args, **kwargs)
        finally:
            temporalio.activity._Context.reset(token)
            self._activities.remove(running)

    def _new_context(self) -> Any:
        return changed(
            _CONTEXT,
            {
                "info": lambda: self.info,
                "heartbeat": self.on_heartbeat,
                "cancelled_event": _Event(),
                "worker_shutdown_event": _Event(),
                "shield_thread_cancel_exception": None,
                "payload_converter_class_or_instance": self.payload_converter,
                "runtime_metric_meter": self.metric_meter,
                "client": self._client,
                "cancellation_details": self._cancellation_details,
            },
        )

    @property
    def info(self) -> temporalio.activity.Info:
        """What ``activity.info()`` gives."""
        if self._told is None:
            values = {name: value for name, value in self.tell().items() if name in _INFO_FIELDS}
            self._told = changed(_TEMPLATE.info, values)
        return self._told

    @info.setter
    def info(self, told: temporalio.activity.Info) -> None:
        self._told = told


def _is_own(value: Any) -> bool:
    """Whether an attribute belongs to one environment alone: what changes while an activity runs."""
    return isinstance(value, set | list | dict) or (is_dataclass(value) and not isinstance(value, type))


# From the SDK's own instance, so that whatever a release adds is there too.
_SHARED: Final = {name: one for name, one in vars(_TEMPLATE).items() if name != "info" and not _is_own(one)}
_OWN: Final = {name: type(one) for name, one in vars(_TEMPLATE).items() if name != "info" and _is_own(one)}


def new_environment(
    worker: Worker, converter: DataConverter, tell: Callable[[], Mapping[str, Any]]
) -> Environment:
    """Make the environment of one attempt; ``tell`` gives its info, by the names of the SDK's fields."""
    environment = object.__new__(Environment)
    known = vars(environment)
    known.update(_SHARED)
    for name, make in _OWN.items():
        known[name] = make()
    known["_client"] = worker.client
    known["_told"] = None
    environment.metric_meter = worker.metric_meter
    environment.payload_converter = converter.payload_converter
    environment.tell = tell
    return environment
