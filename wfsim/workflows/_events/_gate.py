"""A gate: what somebody waits at until it is opened, once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


class Gate:
    """``await gate`` waits until ``open``: it gives the value, or raises the error. Making one costs little."""

    __slots__ = ("_error", "_futures", "_value", "is_open")

    def __init__(self) -> None:
        self.is_open = False
        self._futures: list[asyncio.Future[None]] = []
        self._value: Any = None
        self._error: BaseException | None = None

    def open(self, value: Any = None, error: BaseException | None = None) -> None:
        """Let through all who wait, now and later. Only the first time counts."""
        if self.is_open:
            return
        self.is_open, self._value, self._error = True, value, error
        for future in self._futures:
            if not future.done():
                future.set_result(None)
        self._futures.clear()

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.is_open:
            future = asyncio.get_running_loop().create_future()
            self._futures.append(future)
            yield from future
        if self._error is not None:
            raise self._error
        return self._value
