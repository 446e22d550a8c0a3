"""What users' own applications do, as teams write them: what they need is there, and what is wrong is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from temporalio import workflow


class Status(StrEnum):
    DONE = "done"


@dataclass
class Receipt:
    order: str
    status: Status


@workflow.defn
class GivesAReceipt:
    @workflow.run
    async def run(self, order: str) -> Receipt:
        return Receipt(order, Status.DONE)


def test_a_result_has_the_type_that_the_workflow_declares(simulate):
    """As ``client.execute_workflow(Order.run, ...)`` gives it: a dataclass, and no dict of its fields."""
    assert simulate(GivesAReceipt, "order-1").result() == Receipt("order-1", Status.DONE)
