"""An expense that somebody has to approve within three days, or it is passed on to the boss."""

from __future__ import annotations

import asyncio

from wfsim import StateMachine, effect
from wfsim.storage import MemoryJournal
from wfsim.workflows import MachineContext


def pay(context: MachineContext) -> None:
    effect("pay", context.input)


def remind_boss(context: MachineContext) -> None:
    effect("remind boss", context.input)


def approval(*, durable: bool) -> StateMachine:
    """Waits three days for an answer, then three more for the boss's, then gives up."""
    machine = StateMachine("waiting", name="approval", journal=MemoryJournal() if durable else None)
    for state in ("paid", "rejected", "expired"):
        machine.add_state(state, final=True)
    machine.add_state("waiting")
    machine.add_state("escalated", on_entry=remind_boss)
    machine.add_transition(["waiting", "escalated"], "paid", "approve", action=pay)
    machine.add_transition(["waiting", "escalated"], "rejected", "reject")
    machine.add_transition("waiting", "escalated", after="3d")
    machine.add_transition("escalated", "expired", after="3d")
    return machine


class TwoSignatures:
    """An invoice that both legal and finance must sign before it is paid.

    The wrong design counts on the two to answer one after the other; the right one has a region for each, and
    the end of both regions is what pays.
    """

    name = "invoice"
    steps = ("pay", "finance", "legal")

    def __init__(self, *, regions: bool) -> None:
        self.regions = regions

    async def run(self, invoice: str) -> None:
        machine = self.in_regions() if self.regions else self.in_a_row()
        session = machine.session(invoice)
        await session.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sign(session, "legal", 3600))
            group.create_task(self.sign(session, "finance", 1800))

    async def sign(self, session, who, seconds):
        await asyncio.sleep(seconds)
        effect("signature", f"{who} on {session.input}")
        await session.trigger(f"{who}.signs")

    def in_a_row(self) -> StateMachine:
        machine = StateMachine("legal", name="invoice")
        machine.add_state("paid", final=True)
        machine.add_transition("legal", "finance", "legal.signs")
        machine.add_transition("finance", "paid", "finance.signs", action=pay)
        return machine

    def in_regions(self) -> StateMachine:
        machine = StateMachine("signing", name="invoice")
        machine.add_state("signing", parallel=True)
        for who in ("legal", "finance"):
            machine.add_state(who, parent="signing")
            machine.add_state(f"{who} open", parent=who)
            machine.add_state(f"{who} signed", parent=who, final=True)
            machine.add_transition(f"{who} open", f"{who} signed", f"{who}.signs")
        machine.add_state("paid", final=True)
        machine.add_transition("signing", "paid", "done.state.signing", action=pay)
        return machine
