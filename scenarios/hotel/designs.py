"""A hotel whose rooms are booked by sagas. Sagas have no isolation: what one has read another may change."""

from __future__ import annotations

import asyncio

from wfsim import Saga, effect
from wfsim.workflows import LockTable


class Hotel:
    """Rooms on a page: whoever books one reads the page, decides, and writes it anew a while later."""

    def __init__(self, rooms: int) -> None:
        self.rooms_left = rooms

    async def look(self) -> int:
        await asyncio.sleep(0.1)
        effect("page read", "rooms")
        return self.rooms_left

    async def take_room(self, left: int) -> None:
        await asyncio.sleep(0.2)
        if left == 0:
            raise LookupError("no room left")
        self.rooms_left = left - 1
        effect("page written", "rooms")
        effect("room sold")

    async def give_back(self) -> None:
        await asyncio.sleep(0.1)
        self.rooms_left += 1
        effect("room given back")


def booking(*, lock: bool) -> Saga:
    """Look, take a room, pay. With ``lock`` the page belongs to one booking until it is over."""
    hotel, pages = Hotel(rooms=1), LockTable("pages")
    saga = Saga("booking", key=lambda guest: guest)
    saga.add_step("look", forward=hotel.look, read_only=True, locks=pages.lock("rooms") if lock else ())
    saga.add_step("take_room", forward=lambda done: hotel.take_room(done["look"]), compensate=hotel.give_back)
    return saga.add_step("pay", forward=lambda: asyncio.sleep(0.5))
