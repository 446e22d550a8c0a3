"""Waiting for what a bus does: a publication to be taken over, an answer to come in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from wfsim.workflows._events._event import Event
    from wfsim.workflows._events._gate import Gate


class Receipt:
    """What publishing gives. Await it to wait until the bus has taken the event over; or leave it."""

    __slots__ = ("event", "gates")

    def __init__(self, event: Event, gates: Sequence[Gate] = ()) -> None:
        self.event = event
        self.gates = gates

    def __await__(self) -> Generator[Any, None, Event]:
        for gate in self.gates:
            yield from gate.__await__()
        return self.event

    def __repr__(self) -> str:
        return f"<Receipt of {self.event.topic!r}, id {self.event.id!r}>"


async def within(gate: Gate, timeout_ns: int) -> Any:
    """Wait at a gate, but not for ever. Raise TimeoutError."""
    async with asyncio.timeout(timeout_ns / NS_PER_SECOND):
        return await gate
