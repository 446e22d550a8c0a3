"""A worker that pays sellers and writes each payment into a journal, so that no seller is paid twice.

Plain asyncio code. The bank and the journal outlive the worker: when the worker's process crashes and is
started again, ``Payout`` is still there, as a database would be, and ``run`` begins anew.
"""

from __future__ import annotations

import asyncio

from wfsim import effect, fault_point


class Bank:
    """Transfers money; the same ``reference`` again is the same transfer, not a second one."""

    def __init__(self) -> None:
        self.references: list[str] = []

    async def transfer(self, seller: str, reference: str) -> None:
        await asyncio.sleep(0.3)
        if reference in self.references:
            return
        self.references.append(reference)
        effect("transfer", seller)


class Payout:
    """Pays one seller, once, whatever happens: at least that is the intention."""

    name = "payout"

    def __init__(self, *, stable_reference: bool = False) -> None:
        self.bank = Bank()
        self.journal: list[str] = []
        self.stable_reference = stable_reference
        self.transfers = 0

    async def run(self, seller: str) -> str:
        if seller in self.journal:
            return "was paid before"
        await self.bank.transfer(seller, self.reference(seller))
        await fault_point("before the journal", design=self.name, name="write_journal")
        await asyncio.sleep(0.01)
        self.journal.append(seller)
        return "paid"

    def reference(self, seller: str) -> str:
        """Name the transfer: after the seller, or (the mistake) after the attempt."""
        self.transfers += 1
        return f"payout to {seller}" if self.stable_reference else f"transfer {self.transfers}"
