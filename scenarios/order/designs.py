"""An order without an orchestrator: the services react to each other's events."""

from __future__ import annotations

import asyncio

from wfsim import ChoreographedSaga, EventBus, Saga, effect


def choreographed(*, delivery: str) -> ChoreographedSaga:
    """Reserve, charge, ship, each by a service of its own, on a bus that delivers as ``delivery`` says."""
    order = Saga("order", key=lambda number: number)
    order.add_step("reserve_stock", forward=act("stock reserved"), compensate=act("stock released"))
    order.add_step("charge_card", forward=act("card charged"), compensate=act("card refunded"))
    order.add_step("book_courier", forward=act("courier booked"))
    bus = EventBus(delivery=delivery, max_deliveries=None)
    return ChoreographedSaga(order, bus)


def act(what: str):
    async def step(context) -> None:
        await asyncio.sleep(0.1)
        effect(what, context.key)

    return step
