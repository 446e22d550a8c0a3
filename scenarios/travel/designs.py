"""A travel agency's booking, orchestrated by hand: no Saga, only try and except.

``span`` and ``perform`` tell wfsim what the code does, so that its checkers can judge it. Outside a
simulation they do nothing.
"""

from __future__ import annotations

import asyncio

from wfsim import effect
from wfsim.kernel import perform, span

STEPS = ("reserve_seats", "issue_ticket", "book_hotel", "charge_card")


class Trip:
    """Books a trip in four steps; when one fails, those before it are taken back: in the wrong order."""

    name = "trip"

    async def run(self, customer: str) -> None:
        steps = [{"name": name, "compensatable": True, "retry": None} for name in STEPS]
        done: list[str] = []
        with span("saga", self.name, self.name, data={"steps": steps}):
            try:
                for step in STEPS:
                    await perform("forward", self.name, step, book, step, customer)
                    done.append(step)
            except ConnectionError:
                for step in done:  # the mistake: reversed(done) was meant
                    await perform("compensate", self.name, step, cancel, step, customer)
                raise


async def book(step: str, customer: str) -> None:
    await asyncio.sleep(0.2)
    effect(step, customer)


async def cancel(step: str, customer: str) -> None:
    await asyncio.sleep(0.1)
    effect(f"undo {step}", customer)
