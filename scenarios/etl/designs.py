"""Nightly loads: one run by hand-written schedulers, as they are found in many a company, and as a DAG.

``span``, ``perform`` and ``event`` tell wfsim what the hand-written code does, so that its checkers can judge it.
Outside a simulation they do nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wfsim import effect
from wfsim.kernel import event, perform, span
from wfsim.workflows import DAGWorkflow

Work = Callable[[], Awaitable[object]]


async def fetch() -> int:
    await asyncio.sleep(20)
    return 0  # rows that came in since yesterday


async def choose(rows: int) -> str:
    return "full" if rows else "incremental"


async def load(kind: str) -> str:
    await asyncio.sleep(60)
    effect(f"{kind} load")
    return kind


async def publish() -> None:
    await asyncio.sleep(5)
    effect("published")


class HandMadeScheduler:
    """Starts a task when all that it depends on has succeeded. It forgot that a task can be skipped."""

    name = "nightly"
    needs = {  # noqa: RUF012 - a table
        "fetch": [],
        "choose": ["fetch"],
        "full": ["choose"],
        "incremental": ["choose"],
        "publish": ["full", "incremental"],
    }

    async def run(self) -> None:
        done = {name: asyncio.Event() for name in self.needs}
        results: dict[str, object] = {}

        async def play(name: str) -> None:
            for other in self.needs[name]:
                await done[other].wait()
            if name in {"full", "incremental"} and results["choose"] != name:
                event(
                    "skip", name, design=self.name, data={"state": "skipped", "reason": "it was not chosen"}
                )
                return  # the mistake: whoever waits for it is never told
            results[name] = await perform("task", self.name, name, self.work_of(name, results))
            done[name].set()

        with span("dag", self.name, self.name, data={"tasks": self.needs}):
            await asyncio.gather(*(play(name) for name in self.needs))

    def work_of(self, name: str, results: dict[str, object]) -> Work:
        works: dict[str, Work] = {
            "fetch": fetch,
            "choose": lambda: choose(int(str(results["fetch"]))),
            "publish": publish,
        }
        return works.get(name) or (lambda: load(name))


def nightly(rule: str) -> DAGWorkflow:
    """The same load as a DAG; ``rule`` is the trigger rule of the task that publishes."""
    dag = DAGWorkflow(name="nightly")
    dag.add_task("fetch", run=fetch)
    dag.add_task("choose", run=choose, depends_on=["fetch"], branch=True)
    dag.add_task("full", run=lambda: load("full"), depends_on=["choose"])
    dag.add_task("incremental", run=lambda: load("incremental"), depends_on=["choose"])
    dag.add_task("publish", run=publish, depends_on=["full", "incremental"], trigger_rule=rule)  # type: ignore[arg-type]
    return dag


class TrustingScheduler:
    """Lets every task wait for what it depends on, and never looks whether that can come to an end."""

    name = "billing"
    needs = {  # noqa: RUF012 - a table
        "usage": [],
        "prices": ["contracts"],
        "contracts": ["invoices"],
        "invoices": ["usage", "prices"],
    }

    async def run(self) -> None:
        done = {name: asyncio.Event() for name in self.needs}

        async def play(name: str) -> None:
            for other in self.needs[name]:
                await done[other].wait()
            await perform("task", self.name, name, lambda: asyncio.sleep(1))
            done[name].set()

        with span("dag", self.name, self.name, data={"tasks": self.needs}):
            await asyncio.gather(*(play(name) for name in self.needs))


def billing() -> DAGWorkflow:
    """Billing with the circle cut: contracts come from the month before, not from this month's invoices."""
    dag = DAGWorkflow(name="billing")
    for name, needs in {
        "usage": [],
        "contracts": [],
        "prices": ["contracts"],
        "invoices": ["usage", "prices"],
    }.items():
        dag.add_task(name, run=lambda: asyncio.sleep(1), depends_on=needs)
    return dag
