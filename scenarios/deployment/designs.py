"""A deployment pipeline as a state machine, wrong and right.

The stages are those that any pipeline has; ``rollback`` is reachable from all of them. What the actions do
happens in the world, on the servers, which know a version by the reference that came with it.
"""

from __future__ import annotations

import asyncio

from wfsim import StateMachine, effect
from wfsim.storage import MemoryJournal
from wfsim.workflows import MachineContext

STAGES = ("building", "testing", "staging", "production")


class Servers:
    """What serves the users. The same reference again is the same deployment, not a second one."""

    def __init__(self) -> None:
        self.references: list[str] = []

    async def deploy(self, release: str, reference: str) -> None:
        await asyncio.sleep(20)
        if reference not in self.references:
            self.references.append(reference)
            effect("deploy", release)

    async def roll_back(self, release: str) -> None:
        await asyncio.sleep(5)
        if self.references:
            self.references.clear()
            effect("roll back", release)


def pipeline(*, rolls_back: bool) -> StateMachine:
    """The pipeline; the wrong one leaves it to people to press the button."""
    servers = Servers()

    async def deploy(context: MachineContext) -> None:
        await servers.deploy(context.input, context.id)

    async def rollback_deployment(context: MachineContext) -> None:
        await servers.roll_back(context.input)

    machine = StateMachine(initial="pending", name="pipeline")
    machine.add_transition("pending", "building")
    machine.add_transition("building", "testing")
    machine.add_transition("testing", "staging")
    machine.add_transition("staging", "production", action=deploy)
    machine.add_transition("*", "rollback", action=rollback_deployment)
    if rolls_back:
        machine.add_transition("*", "rollback", trigger="error", action=rollback_deployment)
    return machine


class Release:
    """Takes one release through its stages, a minute each, as a CI server does."""

    name = "release"
    steps = ("deploy", "rollback_deployment")

    def __init__(self, *, rolls_back: bool) -> None:
        self.rolls_back = rolls_back

    async def run(self, release: str) -> None:
        session = pipeline(rolls_back=self.rolls_back).session(release)
        for stage in STAGES:
            await asyncio.sleep(60)
            await session.trigger(stage)


def crashing_pipeline(*, durable: bool) -> StateMachine:
    """The pipeline run by a server that may crash; ``durable`` if it keeps a journal."""
    servers = Servers()

    async def build(context: MachineContext) -> None:
        await asyncio.sleep(30)
        effect("build", context.input)

    async def deploy(context: MachineContext) -> None:
        await servers.deploy(context.input, context.id)

    journal = MemoryJournal() if durable else None
    machine = StateMachine(initial="building", name="pipeline", journal=journal)
    machine.add_state("building", on_entry=build)
    machine.add_state("staging")
    machine.add_state("production", final=True)
    machine.add_transition("building", "staging", always=True)
    machine.add_transition("staging", "production", after="10m", action=deploy)
    return machine
