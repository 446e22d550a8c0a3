"""A saga described in a file: its steps are calls of simulated services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.scenario._inline import Service, ServiceSpec
from wfsim.storage import Disk, MemoryJournal
from wfsim.units import NS_PER_SECOND
from wfsim.workflows import Saga

if TYPE_CHECKING:
    from wfsim.workflows import Policy


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a saga: the call, the call that compensates it, their policies; or a saga of its own."""

    name: str
    forward: ServiceSpec
    compensate: ServiceSpec | None = None
    retry: Policy | None = None
    compensate_retry: Policy | None = None
    timeout_ns: int | None = None
    compensate_timeout_ns: int | None = None
    depends_on: tuple[str, ...] | None = None
    steps: tuple[StepSpec, ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()
    """What else is said of the step: ``pivot``, ``retriable``, ``read_only``, ``atomic``, ..."""


@dataclass(frozen=True, slots=True)
class JournalSpec:
    """A journal on a simulated disk."""

    sync: bool = True
    latency_ns: int = NS_PER_SECOND // 1000
    survives: float = 0.5
    tears: float = 0.5

    def make(self) -> MemoryJournal:
        """Make the journal of one run, on a disk of its own."""
        disk = Disk(latency=self.latency_ns / NS_PER_SECOND, survives=self.survives, tears=self.tears)
        return MemoryJournal(disk, sync=self.sync)


@dataclass(frozen=True, slots=True)
class SagaSpec:
    """A saga described in a file."""

    name: str
    steps: tuple[StepSpec, ...]
    timeout_ns: int | None = None
    recovery: Any = "backward"
    journal: JournalSpec | None = None
    kind = "saga"

    def names(self) -> tuple[str, ...]:
        """Return the names of the steps, and of the steps of those that are sagas."""
        return tuple(_names(self.steps))

    def make(self) -> Saga:
        """Build the saga of one run; its services have seen no key yet."""
        saga = self.begin()
        for step in self.steps:
            self.add(saga, step)
        return saga

    def begin(self) -> Saga:
        """Build the saga without its steps."""
        journal = None if self.journal is None else self.journal.make()
        return Saga(self.name, journal=journal, timeout=_seconds(self.timeout_ns), recovery=self.recovery)

    def add(self, saga: Saga, step: StepSpec) -> None:
        """Add a step. Raise DesignError if it cannot be there."""
        if step.steps:
            inner = Saga(step.name)
            for one in step.steps:
                self.add(inner, one)
            saga.add_saga(inner, depends_on=step.depends_on, timeout=_seconds(step.timeout_ns))
            return
        flags: dict[str, Any] = dict(step.flags)
        service = Service(self.name, step.forward)
        saga.add_step(
            step.name,
            forward=service.call,
            compensate=Service(self.name, step.compensate, service).call if step.compensate else None,
            retry=step.retry,
            compensate_retry=step.compensate_retry,
            timeout=_seconds(step.timeout_ns),
            compensate_timeout=_seconds(step.compensate_timeout_ns),
            depends_on=step.depends_on,
            **flags,
        )


def _names(steps: tuple[StepSpec, ...]) -> list[str]:
    return [name for step in steps for name in (step.name, *_names(step.steps))]


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / NS_PER_SECOND
