"""Calling the user's activity: arguments, interceptors, and code that blocks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import temporalio.activity
import temporalio.common
import temporalio.exceptions
from temporalio.api.common.v1 import Payload
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
)

from wfsim_temporal.activities._thread import in_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from temporalio.converter import DataConverter
    from temporalio.testing import ActivityEnvironment

    from wfsim_temporal.worker import Worker


async def call_activity(
    worker: Worker,
    converter: DataConverter,
    definition: Any,
    asked: Any,
    environment: ActivityEnvironment,
) -> Any:
    """Call the function of an activity that was ``asked`` for, in an environment, through the interceptors."""
    arguments = await _decode(worker, converter, definition, asked.arguments)
    function = definition.fn
    if not worker.interceptors:
        plain = function if definition.is_async else _blocking(function, worker, definition)
        return await environment.run(plain, *arguments)
    headers = await _headers(worker, asked.headers)
    inbound: Any = _Inbound(worker, definition)
    for interceptor in reversed(worker.interceptors):
        inbound = interceptor.intercept_activity(inbound)

    async def intercepted() -> Any:
        inbound.init(_Outbound(environment))
        return await inbound.execute_activity(
            ExecuteActivityInput(fn=function, args=arguments, executor=None, headers=headers)
        )

    return await environment.run(intercepted)


async def _decode(worker: Worker, converter: DataConverter, definition: Any, held: Any) -> list[Any]:
    types = definition.arg_types
    if not definition.name:  # the dynamic activity takes what comes
        types = [temporalio.common.RawValue] * len(held)
    elif types is not None and len(types) != len(held):
        types = None
    try:
        if not held:
            arguments = []
        elif worker.codec.is_active:
            arguments = await converter.decode(_copies(held), types)
        else:
            arguments = converter.payload_converter.from_payloads(held, types)
    except Exception as error:
        raise temporalio.exceptions.ApplicationError("Failed decoding arguments") from error
    return [arguments] if not definition.name else arguments


async def _headers(worker: Worker, held: Any) -> dict[str, Any]:
    """Give an activity's headers; a client may want them encoded as all else is."""
    codec = worker.data_converter.payload_codec
    if codec is None or not worker.codec.encodes_headers:
        return dict(held)
    return {name: (await codec.decode(_copies([payload])))[0] for name, payload in held.items()}


def _copies(payloads: Any) -> list[Payload]:
    """Copy payloads: codecs change what they are given."""
    return [Payload.FromString(one.SerializeToString()) for one in payloads]


def _blocking(function: Callable[..., Any], worker: Worker, definition: Any) -> Callable[..., Any]:
    """Let a function that blocks run as a simulated thread, of which the worker's executor has so many."""

    async def in_thread(*arguments: Any) -> Any:
        threads = None if worker.session is None else worker.session.threads
        if threads is None:
            return await in_own_thread(worker, definition, function, *arguments)
        async with threads:
            return await in_own_thread(worker, definition, function, *arguments)

    return in_thread


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
    )


class _Inbound(ActivityInboundInterceptor):
    """The end of the chain of interceptors."""

    def __init__(self, worker: Worker, definition: Any) -> None:
        self._worker = worker
        self._definition = definition

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Let what the code asks of its surroundings pass through the chain."""
        context = temporalio.activity._Context.current()
        context.info, context.heartbeat = outbound.info, outbound.heartbeat

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        function = input.fn
        if not _is_async(function):
            function = _blocking(function, self._worker, self._definition)
        return await function(*input.args)


class _Outbound(ActivityOutboundInterceptor):
    """What interceptors reach the environment by."""

    def __init__(self, environment: ActivityEnvironment) -> None:
        self._environment = environment

    def info(self) -> Any:
        return self._environment.info

    def heartbeat(self, *details: Any) -> None:
        self._environment.on_heartbeat(*details)
