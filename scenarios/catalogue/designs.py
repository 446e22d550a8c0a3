"""Shops that fetch the catalogue from one small server, all of them at nine o'clock.

Plain asyncio code: the server can serve a few requests at a time and refuses the others at once; a refused
shop tries again.
"""

from __future__ import annotations

import asyncio

from wfsim import Retry


class Server:
    """Serves ``capacity`` requests at a time, each in 50 ms."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.busy = 0

    async def fetch(self) -> str:
        if self.busy >= self.capacity:
            raise ConnectionRefusedError("too many requests")
        self.busy += 1
        try:
            await asyncio.sleep(0.05)
        finally:
            self.busy -= 1
        return "catalogue"


class Shop:
    """One shop's morning: fetch the catalogue, with up to eight tries."""

    name = "shop"

    def __init__(self, *, jitter: str = "none", capacity: int = 5) -> None:
        self.server = Server(capacity)
        self.retry = Retry(attempts=8, delay="100ms", jitter=jitter)

    async def run(self) -> str:
        return await self.retry.call(self.server.fetch)
