"""Performing one step, in a run that has to know more than the outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wfsim.kernel import perform
from wfsim.workflows._saga._plain import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.workflows._policy import Policy


class Attempts:
    """The tries of a step or of its compensation, each within a time limit if there is one.

    ``in_doubt`` tells afterwards whether any of them, not only the last, may have taken effect and failed.
    """

    __slots__ = ("_args", "_cause", "_data", "_design", "_fn", "_kind", "_name", "_timeout_s", "in_doubt")

    def __init__(
        self,
        kind: str,
        design: str,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        timeout_s: float | None = None,
        cause: int | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self._kind = kind
        self._design = design
        self._name = name
        self._fn = fn
        self._args = args
        self._timeout_s = timeout_s
        self._cause = cause
        self._data = data
        self.in_doubt = False

    async def under(self, policy: Policy | None) -> Any:
        """Try as the policy says and give the value."""
        if policy is None:
            return await self._attempt(1)
        return await policy.run(self._attempt, design=self._design, name=self._name)

    async def _attempt(self, number: int, cause: int | None = None, /) -> Any:
        try:
            if self._timeout_s is None:
                return await self._perform(number, cause)
            async with asyncio.timeout(self._timeout_s):
                return await self._perform(number, cause)
        except UNKNOWN:
            self.in_doubt = True
            raise

    async def _perform(self, number: int, cause: int | None) -> Any:
        cause = self._cause if cause is None else cause
        return await perform(
            self._kind,
            self._design,
            self._name,
            self._fn,
            *self._args,
            attempt=number,
            cause=cause,
            data=self._data,
        )
