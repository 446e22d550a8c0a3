"""A travel agency that undoes its bookings by hand: two mistakes that such code has been seen to make.

Plain asyncio code that tells the history nothing but its effects.
"""

from __future__ import annotations

import asyncio

from wfsim import effect, fault_point


async def book(what: str, customer: str) -> None:
    await fault_point("call", kind="forward", design="holiday", name=what)
    await asyncio.sleep(0.2)
    effect(what, customer)


async def cancel(what: str, customer: str, *, takes: float = 0.1) -> None:
    await asyncio.sleep(takes)
    effect(f"cancel {what}", customer)


class Package:
    """Insurance, then travel (hotel and flight, undone by itself if one fails), then payment.

    The travel part knows how to undo itself when it fails. When the payment fails after it, the
    package cancels what it calls travel, and that is the flight alone.
    """

    name = "holiday"

    async def run(self, customer: str) -> None:
        await book("insurance", customer)
        try:
            await self.travel(customer)
            try:
                await book("payment", customer)
            except ConnectionError:
                await cancel("flight", customer)  # the mistake: the hotel is part of it too
                raise
        except ConnectionError:
            await cancel("insurance", customer)
            raise

    async def travel(self, customer: str) -> None:
        await book("hotel", customer)
        try:
            await book("flight", customer)
        except ConnectionError:
            await cancel("hotel", customer)
            raise


class Visa:
    """A visa, then hotel and flight side by side, both on that visa, then payment.

    To be quick it cancels everything at once, so the visa is gone while the flight is still booked on it.
    """

    name = "holiday"

    async def run(self, customer: str) -> None:
        await book("visa", customer)
        await asyncio.gather(book("hotel", customer), book("flight", customer))
        try:
            await book("payment", customer)
        except ConnectionError:
            await asyncio.gather(
                cancel("visa", customer),  # the mistake: it comes first, and must come last
                cancel("hotel", customer, takes=2),
                cancel("flight", customer, takes=3),
            )
            raise
