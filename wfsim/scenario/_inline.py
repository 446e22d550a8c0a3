"""Designs described in the file itself: a saga, a DAG or a state machine that calls simulated services.

A service answers after its latency. It finishes its work even if the caller has stopped waiting, as a real
one does: a call that timed out may still take effect. An idempotent service does the work of one key once.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from wfsim.errors import DesignError
from wfsim.harness import Description
from wfsim.kernel import Distribution, current, effect, sleep
from wfsim.units import NS_PER_SECOND
from wfsim.workflows import DAGWorkflow, Policy, Saga, StateMachine

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.scenario._inline_dag import DagSpec
    from wfsim.scenario._inline_machine import MachineSpec
    from wfsim.scenario._inline_saga import SagaSpec
    from wfsim.workflows import At

Inline: TypeAlias = "Saga | DAGWorkflow | StateMachine"

KEY: ContextVar[str] = ContextVar("wfsim_scenario_key")
"""What the running instance is about: the key that its effects carry."""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What a call of one service does: how long it takes, how often it fails, what it changes."""

    name: str
    latency: Distribution
    failure_probability: float = 0.0
    error: Callable[[str], BaseException] = ConnectionError
    effect: str | None = None
    idempotent: bool = False
    outlives_caller: bool = False


@dataclass(frozen=True, slots=True)
class InlineTarget:
    """Runs a design that a file describes; each run gets services of its own."""

    spec: SagaSpec | DagSpec | MachineSpec

    def describe(self) -> Description:
        """Return what the file says."""
        return Description(self.spec.name, self.spec.kind, self.spec.names())

    async def start(self) -> Inline:
        """Build the design of this run."""
        return self.spec.make()

    async def drive(self, system: Inline, key: object = "", *script: At) -> Any:
        """Run one instance; ``key`` is what its effects are about, such as an order's number.

        A ``script`` is for a state machine: the events that it gets.
        """
        KEY.set(str(key))
        if isinstance(system, StateMachine):
            return await system.run(str(key), *script)
        if isinstance(system, DAGWorkflow) and system.journal is None:
            return await system.run()
        return await system.run(key=key)


@dataclass(frozen=True, slots=True)
class Service:
    """One service in one run: it remembers the keys it has worked for, and ``undoes`` what another has done."""

    design: str
    spec: ServiceSpec
    undoes: Service | None = None
    done: dict[str, None] = field(default_factory=dict)

    async def call(self, once: str | None = None) -> str:
        """Answer one call. With ``outlives_caller`` the work goes on when the caller is cancelled.

        ``once`` is what an idempotent service knows the call by, if that is not what its effect is about.
        """
        key = KEY.get()
        known_by = key if once is None else once
        if not self.spec.outlives_caller:
            return await self._serve(key, known_by)
        work = asyncio.create_task(self._serve(key, known_by), name=f"{self.spec.name} service")
        work.add_done_callback(_note_error)
        return await asyncio.shield(work)

    async def work(self, *_results: object) -> str:
        """Answer one call whose arguments, the results of other tasks, make no difference."""
        return await self.call()

    async def _serve(self, key: str, known_by: str) -> str:
        simulation = current()
        if simulation is None:
            raise DesignError(f"{self.design} is described in a scenario file and runs in a simulation only")
        stream = simulation.stream(f"design/{self.design}/{self.spec.name}")
        await sleep(self.spec.latency.sample_ns(stream) / NS_PER_SECOND)
        if self.spec.failure_probability and stream.random() < self.spec.failure_probability:
            raise self.spec.error(f"{self.spec.name} failed")
        if self.spec.effect is not None and not (self.spec.idempotent and self._knows(known_by)):
            self.done[known_by] = None
            effect(self.spec.effect, key)
        return f"{self.spec.name} done"

    def _knows(self, key: str) -> bool:
        """Whether the work of a key is done already, or there is nothing that it could undo."""
        return key in self.done or (self.undoes is not None and key not in self.undoes.done)


def _note_error(work: asyncio.Task[Any]) -> None:
    """Look at the error of work that nobody waits for any more, so that asyncio does not complain."""
    if not work.cancelled():
        work.exception()


@dataclass(frozen=True, slots=True)
class Timeout:
    """A policy: each attempt gets ``timeout_ns``, then fails with TimeoutError; then ``inner`` decides."""

    timeout_ns: int
    inner: Policy | None = None

    def describe(self) -> dict[str, Any]:
        """Give the inner policy as data, so that checkers judge by it, and the timeout."""
        inner = self.inner.describe() if self.inner else {"attempts": 1}
        return {**inner, "timeout_ns": self.timeout_ns}

    async def run(self, attempt: Callable[..., Any], *, design: str, name: str) -> Any:
        """Try the step as the inner policy says, each attempt within the timeout."""

        async def within(number: int, cause: int | None = None, /) -> Any:
            async with asyncio.timeout(self.timeout_ns / NS_PER_SECOND):
                return await attempt(number, cause)

        return await (self.inner.run(within, design=design, name=name) if self.inner else within(1))
