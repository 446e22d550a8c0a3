"""A web shop of services that tell each other what happened and otherwise do not know each other.

Each design comes in two forms: one that goes wrong, as it is often seen, and one that does not.
"""

from __future__ import annotations

import asyncio

from wfsim import Choreography, Event, EventBus, EventStore, Outbox, Service, effect, start_process
from wfsim.kernel import exponential
from wfsim.storage import Disk, MemoryJournal


class Opening:
    """A new shop goes online: orders come in at once, while the billing service still starts."""

    name = "opening"

    def __init__(self, *, store: bool = False) -> None:
        self.bus = EventStore("shop") if store else EventBus("shop")

    async def run(self) -> None:
        start_process("billing", self.billing)
        for number in range(1, 4):
            await self.bus.publish(Event("order.placed", {"amount": 20}, key=f"order-{number}"))
            await asyncio.sleep(1)
        await asyncio.sleep(5)

    async def billing(self) -> None:
        await asyncio.sleep(1.5)  # connects to its database, warms its caches
        if isinstance(self.bus, EventStore):
            self.bus.subscribe(self.bill, topic="order.placed", from_position=0)
        else:
            self.bus.subscribe("order.placed", self.bill)
        await asyncio.Event().wait()

    async def bill(self, event: Event) -> None:
        await asyncio.sleep(0.1)
        effect("bill sent", event.key)


class Checkout:
    """An order is charged, then shipped. The bus delivers at least once: at times more than once."""

    name = "checkout"

    def __init__(self, *, idempotent: bool = False) -> None:
        self.idempotent = idempotent
        self.paid: list[str | None] = []
        self.bus = EventBus("shop", latency="20ms", visibility_timeout="10s", max_deliveries=None)
        self.flow = Choreography(
            "checkout",
            Service("billing", restart_after="5s").on("order.placed", self.charge),
            Service("shipping", restart_after="5s").on("order.paid", self.ship, delivery="effectively_once"),
            bus=self.bus,
        )

    async def run(self, order: str) -> None:
        await self.flow.run(Event("order.placed", {"amount": 20}, key=order))

    async def charge(self, event: Event) -> None:
        await asyncio.sleep(0.2)
        if not (self.idempotent and event.id in self.paid):
            self.paid.append(event.id)
            effect("card charged", event.key)
        # An order is paid once, so the event that tells of it has one id, however often it is told.
        await self.bus.publish(Event("order.paid", key=event.key, id=f"{event.key} paid"))

    async def ship(self, event: Event) -> None:
        await asyncio.sleep(0.1)
        effect("parcel sent", event.key)


class Orders:
    """The order service saves an order in its database and tells the others: two writes, or one."""

    name = "orders"

    def __init__(self, *, outbox: bool = False) -> None:
        self.journal = MemoryJournal(Disk("database", survives=0))
        self.bus = EventBus("shop", delivery="effectively_once")
        self.bus.subscribe("order.placed", self.confirm, name="mail")
        self.save = self.save_and_tell_in_one if outbox else self.save_then_tell
        self.outbox: Outbox | None = None

    async def run(self) -> None:
        await start_process("order service", self.serve, restart_after=2)
        await self.bus.drain()

    async def serve(self) -> None:
        """Save what is not saved yet: after a crash the service goes on where its database stands."""
        self.outbox = Outbox(self.journal, name="orders")
        await self.outbox.open()
        relay = asyncio.create_task(self.outbox.relay(self.bus))
        saved = [state["order"] for state in self.outbox.states]
        for key in ("order-1", "order-2", "order-3"):
            if key not in saved:
                await self.save(key)
            await asyncio.sleep(1)
        while self.outbox.pending:
            await asyncio.sleep(0.1)
        relay.cancel()

    async def save_then_tell(self, key: str) -> None:
        await self.outbox.commit({"order": key})
        effect("order saved", key)
        await asyncio.sleep(0.01)
        await self.bus.publish(Event("order.placed", key=key))

    async def save_and_tell_in_one(self, key: str) -> None:
        await self.outbox.commit({"order": key}, Event("order.placed", key=key))
        effect("order saved", key)

    async def confirm(self, event: Event) -> None:
        effect("confirmation mailed", event.key)


class Account:
    """Deposits and withdrawals of one account, told as events; a view of it has to apply them in order."""

    name = "account"

    def __init__(self, *, order: str = "none") -> None:
        self.bus = EventBus("bank", latency=exponential("30ms"), visibility_timeout="3s", max_deliveries=None)
        self.bus.subscribe("account.*", self.apply, name="balance view", order=order)
        self.balances: dict[object, int] = {}

    async def run(self) -> None:
        for _ in range(10):
            for account in ("A", "B"):
                await self.bus.publish(Event("account.deposited", 10, key=account))
                await self.bus.publish(Event("account.withdrawn", -10, key=account))
            await asyncio.sleep(0.05)
        await self.bus.drain()

    async def apply(self, event: Event) -> None:
        balance = self.balances.get(event.key, 0) + event.payload
        self.balances[event.key] = balance
        if balance < 0:
            effect("overdraft fee taken", event.key)
