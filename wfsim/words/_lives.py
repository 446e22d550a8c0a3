"""Lives of a state machine: each takes its events in a process of its own, one after the other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError
from wfsim.kernel import current, span, start_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.history import Recorder
    from wfsim.kernel import Process
    from wfsim.workflows import Session, StateMachine

RESTS: Final = "rests"
"""The kind of fact that tells in which state a machine is when a sentence ends, and with what data."""
SCHEDULED: Final = "scheduled"
"""The kind of fact that tells what is due later when a sentence ends."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Life:
    """One machine at work: the events it was given, and how far it has come."""

    def __init__(self, machine: StateMachine, key: str, given: Any) -> None:
        self.machine = machine
        self.key = key
        self.session: Session | None = None
        self.errors: list[Exception] = []
        self.process: Process | None = None
        self._given = given
        self._events: list[tuple[str, Any]] = []
        self._next = 0
        self._more = asyncio.Event()
        self._idle = asyncio.Event()

    def hand(self, event: str, payload: Any) -> None:
        """Put an event behind those it has."""
        self._events.append((event, payload))
        self._idle.clear()
        self._more.set()

    def restart(self, after_s: float) -> None:
        """Crash it, and start it anew after a while."""
        assert self.process is not None  # noqa: S101 - it has been started
        self._idle.clear()
        self.process.crash(after_s)

    async def live(self) -> None:
        """Work off the events. After a crash it is called anew: with a journal it goes on where it was."""
        machine = self.machine
        has_journal = machine.journal is not None
        key = self.key if has_journal else None
        self.session = session = machine.session(self._given, key=key)
        with span("machine", machine.name, machine.name, data=machine.described(session)) as whole:
            session.born = whole.index
            await session.start()
            if has_journal:
                self._next = min(session.heard, len(self._events))
            while not session.done:
                await self._take(session, has_journal=has_journal)
            whole.data = {"state": session.state}
        while True:
            await self._take(session, has_journal=has_journal)

    async def _take(self, session: Session, *, has_journal: bool) -> None:
        while self._next >= len(self._events):
            self._more.clear()
            self._idle.set()
            await self._more.wait()
        event, payload = self._events[self._next]
        try:
            await (session.hear if has_journal else session.trigger)(event, payload)
        except Exception as error:  # noqa: BLE001 - it is of whoever triggered the event: the sentence
            self.errors.append(error)
        self._next += 1

    async def settled(self) -> None:
        """Wait until all its events are worked off, or it is gone for good."""
        assert self.process is not None  # noqa: S101 - it has been started
        gone = asyncio.create_task(_end_of(self.process), name=f"end of {self.key}")
        idle = asyncio.create_task(self._idle.wait(), name=f"{self.key} at rest")
        await asyncio.wait((gone, idle), return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, idle):
            if not task.done():
                task.cancel()
        if gone.done() and not gone.cancelled() and (error := gone.exception()) is not None:
            raise error


class Lives:
    """The lives of one machine, by key."""

    def __init__(self, machine: StateMachine, given: Any) -> None:
        self._machine = machine
        self._given = given
        self._lives: dict[str, Life] = {}

    def begin(self, args: tuple[Any, ...], options: Mapping[str, Any], key: str | None) -> Life:
        """Hand an event, with what comes with it, to the life of a key; the first one starts it."""
        event, payload = (*args, None)[:2] if args else (None, None)
        if options or len(args) > 2 or not isinstance(event, str | None):  # noqa: PLR2004 - event and payload
            raise DesignError(
                f"what comes to state machine {self._machine.name!r} is an event and what comes with it: "
                ".when('pay', 20); .when() starts it"
            )
        life = self._life(key or self._machine.name)
        if event is not None:
            life.hand(event, payload)
        return life

    def _life(self, key: str) -> Life:
        life = self._lives.get(key)
        if life is None:
            life = self._lives[key] = Life(self._machine, key, self._given)
            life.process = start_process(key, life.live)
        return life

    def restart(self, after_s: float) -> list[Life]:
        """Crash all lives and start them anew."""
        if not self._lives:
            self._life(self._machine.name)
        for life in self._lives.values():
            life.restart(after_s)
        return list(self._lives.values())

    async def settle(self, lives: list[Life]) -> list[Any]:
        """Wait until these are at rest; give the errors that their events met, else their states."""
        found: list[Any] = []
        for life in lives:
            try:
                await life.settled()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told with the rest
                life.errors.append(error)  # type: ignore[arg-type]
            found.append(life.errors[0] if life.errors else life.session and life.session.state)
        return found

    def tell(self) -> None:
        """Tell the history where each life is, with its data, and what is due later."""
        simulation = current()
        assert simulation is not None  # noqa: S101 - only a run of a sentence comes here
        started = simulation.start - _EPOCH
        now_ns = started // timedelta(microseconds=1) * 1_000 + simulation.now_ns  # as timers are set
        for life in self._lives.values():
            if life.session is not None and life.process is not None and life.process.alive:
                _tell(simulation.recorder, life.key, life.session, now_ns)

    def leave(self) -> None:
        """Let what still runs be as it is."""
        for life in self._lives.values():
            life.process.crash()  # type: ignore[union-attr]


async def _end_of(process: Process) -> None:
    await process


def _tell(recorder: Recorder, key: str, session: Session, now_ns: int) -> None:
    states = [session.state] if isinstance(session.state, str) else list(session.state)
    told = {"state": states, "within": list(session.states), "data": session.data, "done": session.done}
    recorder.event(RESTS, session.design, key, key, data=told)
    for timer in session.timers:
        data = {"in_ns": timer.due_ns - now_ns, "event": timer.event, "payload": timer.payload}
        if timer.arrow is not None:
            data |= {"from": timer.arrow.source.name, "to": [one.name for one in timer.arrow.targets]}
        recorder.event(SCHEDULED, session.design, timer.name, key, data=data)
