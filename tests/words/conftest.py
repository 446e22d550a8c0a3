"""Designs of a shop, to make sentences about: each fixture gives the function that makes one."""

from __future__ import annotations

import asyncio

import pytest

from wfsim import Choreography, Event, EventBus, MemoryJournal, Retry, Saga, Service, StateMachine, effect


def does(name, seconds=0.1):
    """A step that takes its time and leaves an effect."""

    async def act(context):
        await asyncio.sleep(seconds)
        effect(name, context.input)
        return f"{name} for {context.input}"

    return act


def make_checkout(**options):
    """Three steps, the last of which nothing undoes."""
    saga = Saga("checkout", **options)
    saga.add_step("reserve", forward=does("reserved"), compensate=does("released"))
    saga.add_step("charge", forward=does("charged"), compensate=does("refunded"), retry=Retry(attempts=2))
    return saga.add_step("ship", forward=does("shipped"))


def make_durable():
    """A saga with a journal whose services do each thing once, and that knows what is in doubt."""
    saga = Saga("checkout", journal=MemoryJournal())
    done = []

    def once(name):
        async def act(context):
            await asyncio.sleep(0.1)
            if context.idempotency_key not in done:
                done.append(context.idempotency_key)
                effect(name, context.input)

        return act

    saga.add_step("reserve", forward=once("reserved"), compensate=once("released"), compensate_unknown=True)
    return saga.add_step("ship", forward=once("shipped"), retriable=True)


def make_order(journal=None):
    """A process manager: an order that is given up if it is not paid within half an hour."""
    machine = StateMachine(initial="new", name="order", data={"paid": 0}, journal=journal)

    def pay(context):
        context.data["paid"] += context.payload or 0
        effect("thanks", context.data["paid"])

    def cancel():
        effect("cancelled")

    for final in ("given up", "done"):
        machine.add_state(final, final=True)
    for plain in ("new", "waiting", "paid"):
        machine.add_state(plain)
    machine.add_transition("new", "waiting", trigger="placed")
    machine.add_transition("waiting", "paid", trigger="pay", action=pay)
    machine.add_transition("waiting", "given up", after="30m", action=cancel)
    return machine.add_transition("paid", "done", trigger="ship")


def make_shop():
    """Billing asks a bank that is not there, and tells; shipping listens."""
    bus = EventBus(max_deliveries=3)

    async def bill(event):
        amount = {"amount": event.payload}
        accepted = await bus.request(Event("bank.charge", amount, key=event.key), timeout="20s")
        await bus.publish(Event("order.paid" if accepted else "order.refused", key=event.key))

    def ship(event):
        effect("shipped", event.key)

    bus.subscribe("order.placed", bill, name="billing")
    bus.subscribe("order.paid", ship, name="shipping")
    return bus


def make_fulfilment():
    """Two services that come back after a crash."""
    bus = EventBus("fulfilment")
    seen = []

    async def bill(event):
        if event.key not in seen:
            seen.append(event.key)
            effect("billed", event.key)
        await bus.publish(Event("order.billed", key=event.key))

    async def tell(event):
        effect("told", event.id)

    billing = Service("billing", restart_after="1s").on("order.placed", bill)
    mail = Service("mail", restart_after="1s").on("order.billed", tell)
    return Choreography("fulfilment", billing, mail, bus=bus)


@pytest.fixture
def checkout():
    return make_checkout


@pytest.fixture
def durable():
    return make_durable


@pytest.fixture
def order():
    return make_order


@pytest.fixture
def durable_order():
    return lambda: make_order(MemoryJournal())


@pytest.fixture
def shop():
    return make_shop


@pytest.fixture
def fulfilment():
    return make_fulfilment
