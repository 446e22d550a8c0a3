"""The same saga without an orchestrator: each step is a participant that reacts to events."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from wfsim.errors import CompensationStuck, CompletionStuck, DesignError, SagaFailed
from wfsim.kernel import current, span, start_process
from wfsim.workflows._execute import execute
from wfsim.workflows._naming import did_you_mean
from wfsim.workflows._saga._context import Context
from wfsim.workflows._saga._options import seconds
from wfsim.workflows._saga._participant import OVER, Participant
from wfsim.workflows._saga._saga import Saga
from wfsim.workflows._saga._wire import Bus, Wire, keyed_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.kernel import Nemesis
    from wfsim.units import Duration


class ChoreographedSaga:
    """Runs a saga's steps as participants that know the events and not each other.

    ::

        checkout = ChoreographedSaga(saga, EventBus())
        await checkout.run(order, key="order-1")

    A participant does its step when it hears that those before it are done, and tells the others
    ("saga.step.done", "saga.step.failed"). When one has failed, whoever has not begun never will; whoever is done
    compensates as soon as all that came after it is undone, and tells that ("saga.step.undone"). So the
    order of compensation is the reversed order of the steps, though nobody gives orders.

    ``bus`` is an :class:`EventBus`, or any object with ``subscribe(topic, handler)`` and ``publish(event)``. For
    another kind of bus ``event(topic, payload)`` makes an event as it wants it, whose ``payload`` (or ``data``) is
    a dict. Participants cope with events that come twice, late or out of order; one that never comes is waited
    for, so choose a bus that delivers. They remember in the saga's journal, if it has one; then a participant that
    has crashed goes on when it is served again and its event is delivered once more.

    The history shows the same operations as those of the orchestrated saga, so the same checkers judge it.
    Raise DesignError for what has no meaning without an orchestrator.
    """

    def __init__(
        self,
        saga: Saga,
        bus: Bus,
        *,
        event: Callable[[str, dict[str, Any]], Any] = keyed_event,
        restart_after: Duration | None = None,
    ) -> None:
        self._saga = _checked(saga)
        self.name = saga.name
        if isinstance(bus, type) or not isinstance(bus, Bus):
            raise DesignError(
                f"choreographed saga {saga.name!r} needs a bus with subscribe(topic, handler) and publish(event); "
                f"{bus!r} is none"
            )
        if not callable(event):
            raise DesignError(f"event of choreographed saga {saga.name!r} must make an event: event=Event")
        self._wire = Wire(saga.name, bus, event)
        self._restart_after_s = seconds(f"restart_after of choreographed saga {saga.name!r}", restart_after)
        self._served: dict[str, None] = {}
        self._watches: dict[str, _Watch] = {}
        self._gates: list[asyncio.Event] = []
        self._place: Any = None

    @property
    def steps(self) -> tuple[Any, ...]:
        """The steps of the saga."""
        return self._saga.steps

    def serve(self, *names: str) -> None:
        """Let these participants (all, if none is named) listen from now on, in the process that calls this.

        ``run`` serves those that nobody serves yet: in a simulation each in a process of its own, named as
        ``order.charge``, which a fault can crash; it starts again after ``restart_after`` (None: never).
        A process of yours that was restarted serves its own again.
        """
        self._arrive()
        known = [step.name for step in self._saga.steps]
        for name in names or known:
            if name not in known:
                raise DesignError(
                    f"saga {self.name!r} has no participant {name!r}{did_you_mean(name, known)}"
                )
            self._served[name] = None
            Participant(self._saga, self._saga.step(name), self._wire).subscribe()

    def _arrive(self) -> None:
        """In another simulation, or out of one, nobody listens yet."""
        if self._place is not current():
            self._place = current()
            self._served.clear()
            self._gates = []

    async def _populate(self) -> None:
        """See to it that every participant listens, and somebody who hears how instances end."""
        self._arrive()
        missing = [step.name for step in self._saga.steps if step.name not in self._served]
        roles: dict[str, Callable[[], None]] = {name: partial(self.serve, name) for name in missing}
        if "" not in self._served:
            roles[""] = self._listen
        self._served |= dict.fromkeys(roles)
        for name, listen in roles.items():
            if current() is None:
                listen()
            else:
                self._gates.append(asyncio.Event())
                title = f"{self.name}.{name}" if name else f"{self.name} (outcomes)"
                start_process(title, _keep, listen, self._gates[-1], restart_after=self._restart_after_s)
        for gate in self._gates:
            await gate.wait()

    async def run(self, given: Any = None, /, *, key: object = None) -> dict[str, Any]:
        """Start an instance and wait until its participants have brought it to an end.

        Give the results by step. Raise SagaFailed if a step failed and all is undone, CompensationStuck or
        CompletionStuck if a participant could go neither forward nor back.
        """
        name = self._saga.key_of(given, key)
        context = Context(given, {}, self.name, name)
        await self._populate()
        data = {**self._saga.data, "key": context.key, "choreographed": True}
        watch = self._watches[context.key] = _Watch(self._saga)
        try:
            with span("saga", self.name, self.name, data=data) as whole:
                await self._wire.tell("started", "", {"key": context.key, "input": given, "results": {}})
                await watch.ended.wait()
                return watch.outcome(whole)
        finally:
            self._watches.pop(context.key, None)

    def execute(
        self, given: Any = None, /, *, key: object = None, seed: int = 0, nemesis: Nemesis | None = None
    ) -> dict[str, Any]:
        """Run one instance in virtual time, and wait for it: the blocking form of ``run``."""

        async def run() -> dict[str, Any]:
            return await self.run(given, key=key)

        result: dict[str, Any] = execute("choreographed saga", run, (), seed, nemesis)
        return result

    def _listen(self) -> None:
        """Hear of every step how it ended, for those who wait for an instance."""
        for step in self._saga.steps:
            for of in ("done", *OVER):
                self._wire.hear("", of, step.name, self._noting(of, step.name))

    def _noting(self, of: str, step: str) -> Callable[[Mapping[str, Any]], Any]:
        async def note(payload: Mapping[str, Any]) -> None:
            watch = self._watches.get(str(payload["key"]))
            if watch is not None:
                watch.note(of, step, payload)

        return note

    def __repr__(self) -> str:
        return f"<ChoreographedSaga {self.name!r}: {', '.join(step.name for step in self._saga.steps)}>"


async def _keep(listen: Callable[[], None], ready: asyncio.Event) -> None:
    """Listen, and go on until a crash: a process that has come to its end could not crash."""
    listen()
    ready.set()
    await asyncio.Event().wait()


class _Watch:
    """Who started an instance waits here for its end."""

    def __init__(self, saga: Saga) -> None:
        self.ended = asyncio.Event()
        self._saga = saga
        self._done: dict[str, Any] = {}
        self._over: dict[str, str] = {}
        self._failed: tuple[str, str] | None = None
        self._stuck: dict[str, str] = {}
        self._stuck_ahead: tuple[str, str] | None = None

    def note(self, of: str, step: str, payload: Mapping[str, Any]) -> None:
        """Take in what happened to a step."""
        if of == "done":
            self._done[step] = payload["results"].get(step)
        elif payload.get("ahead"):
            self._stuck_ahead = step, str(payload.get("error"))
        else:
            self._over[step] = of
        if of == "failed":
            self._failed = self._failed or (step, str(payload.get("error")))
        if of == "stuck":
            self._stuck[step] = str(payload.get("error"))
        ends = self._over if self._failed is not None else self._done
        if len(ends) == len(self._saga.steps) or self._stuck_ahead is not None:
            self.ended.set()

    def outcome(self, whole: span) -> dict[str, Any]:
        """Give the results, or raise what the instance ended with."""
        name, steps = self._saga.name, self._saga.steps
        if self._stuck_ahead is not None:
            unfinished = tuple(step.name for step in steps if step.name not in self._done)
            whole.data = {"failed": self._stuck_ahead[0], "unfinished": list(unfinished)}
            raise CompletionStuck(unfinished, SagaFailed(name, *self._stuck_ahead), name)
        if self._failed is None:
            return {step.name: self._done[step.name] for step in steps}
        whole.data = {"failed": self._failed[0]} | ({"undone": list(self._stuck)} if self._stuck else {})
        failure = SagaFailed(name, *self._failed)
        if self._stuck:
            reason = SagaFailed(name, *next(iter(self._stuck.items())))
            raise CompensationStuck(tuple(self._stuck), reason, name) from failure
        raise failure


def _checked(saga: Any) -> Saga:
    """Refuse what only an orchestrator could do."""
    if not isinstance(saga, Saga):
        raise DesignError(f"ChoreographedSaga(saga, bus) takes a saga, not {saga!r}")
    part = f"choreographed saga {saga.name!r}"
    if not saga.steps:
        raise DesignError(f"{part} has no steps; add them to the saga first")
    if saga.timeout_s is not None:
        raise DesignError(f"{part}: nobody watches the time of the whole; give the steps timeout=... instead")
    for step in saga.steps:
        what = "has locks" if step.locks or step.reads else "is a saga" if step.saga is not None else ""
        if what:
            raise DesignError(f"{part}: step {step.name!r} {what}, which takes an orchestrator")
    return saga
