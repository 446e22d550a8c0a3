"""A session: one life of a machine, from its start to its end. It takes one event at a time, to completion.

Whoever triggers an event carries it out, in his own task; the next one waits for his turn. So there is no
task behind a machine, and what an action raises reaches the one whose event it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError, EventRefused
from wfsim.history import describe_error
from wfsim.kernel import event as record
from wfsim.kernel import fault_point, spawn
from wfsim.units import parse_duration
from wfsim.workflows._failure import note_once, origin_of
from wfsim.workflows._naming import did_you_mean
from wfsim.workflows._statemachine._chart import Arrow, Node, matches
from wfsim.workflows._statemachine._entry import Entry
from wfsim.workflows._statemachine._item import Item, Origin, came_with
from wfsim.workflows._statemachine._keeper import Keeper, Past, arrow_named, restore
from wfsim.workflows._statemachine._select import automatic, due, enabled
from wfsim.workflows._statemachine._step import Step
from wfsim.workflows._statemachine._timers import Timer, Timers
from wfsim.workflows._wallclock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.kernel import Fault
    from wfsim.units import Duration
    from wfsim.workflows._statemachine._machine import StateMachine

ERROR: Final = "error.execution"
MICROSTEPS_MAX: Final = 1_000
# The session whose function is running: what that function triggers waits in the queue, or it would wait for
# its own end.
_ACTING: ContextVar[Session | None] = ContextVar("wfsim_acting", default=None)


class Session:
    """One life of a state machine: where it is, what it remembers and what it still has to do.

    ``StateMachine.session`` makes one. ``await session.trigger("pay")`` hands it an event.
    """

    def __init__(
        self, machine: StateMachine, data: dict[str, Any], given: Any, keeper: Keeper | None
    ) -> None:
        self.machine = machine
        self.chart = machine.chart()
        self.data = data
        self.input = given
        self.output: Any = None
        self.done = False
        self.active: list[Node] = []
        self.past: dict[str, list[Node]] = {}
        self.internal: list[Item] = []
        self.external: deque[Item] = deque()
        self.timers = Timers(self._fire)
        self.keeper = keeper
        self.born: int | None = None
        self.event_number = 0
        self.step_number = 0
        self.design = machine.name
        self.continues = machine.errors == "continue"
        self.resumed = False
        self._started = self._busy = self._unsettled = False
        self.calls = 0
        self._sends = 0
        self.outbox: list[Timer | str] = []
        self.began_ns: int | None = None  # on the wall clock; known only where a journal can hold it
        self.heard = 0  # how many events of the script of `run` it has taken
        self.cause: int | None = None
        self._changed: asyncio.Future[None] | None = None
        self._waiters = 0
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Session of {self.design!r} in {', '.join(node.name for node in self.leaves) or 'no state'}>"

    # -- where it is --

    @property
    def leaves(self) -> list[Node]:
        """The active atomic nodes."""
        return [node for node in self.active if node.is_leaf]

    @property
    def state(self) -> str | tuple[str, ...]:
        """The active atomic state; several, in document order, where regions are parallel."""
        leaves = [node.name for node in self.leaves or self.chart.start_leaves()]
        return leaves[0] if len(leaves) == 1 else tuple(leaves)

    @property
    def states(self) -> tuple[str, ...]:
        """All active states in document order, those that hold others among them."""
        return tuple(node.name for node in self.active)

    def in_state(self, name: str) -> bool:
        """Tell whether a state is active. Raise DesignError if there is no such state."""
        return self.chart.node(name, "the state asked for") in self.active

    @property
    def idle(self) -> bool:
        """Whether nothing goes on in the machine: no event is on its way and no timer is set."""
        return not (self._busy or self.external or self.timers)

    # -- events from outside --

    async def start(self) -> None:
        """Enter the first state, and go on as far as that leads. A session starts by itself when triggered."""
        if not self._started:
            await self._enter_turn(None)

    async def trigger(self, event: str, payload: Any = None) -> bool:
        """Hand the machine an event, and wait until all that it leads to is done.

        Give True if a transition answered it, False if none did. What a function of the machine raises is
        raised here, unless a transition answers ``error``; the machine then stays where it was. Called from a
        function of this machine, it only puts the event in the queue.
        """
        if type(event) is not str:
            raise DesignError(f"an event is named by a text, not {event!r}; write trigger('pay', payload)")
        if self._started and not self._busy and not self.keeper and len(self.active) == 1:
            arrow = self._shortcut(event)
            if arrow is not None:
                return self._jump(arrow, event, payload)
        if not self._started and not self._busy:
            await self.start()
        cause = record("trigger", event, design=self.design, cause=self.born, data=came_with(payload))
        item = Item(event, payload, cause)
        if self._busy and _ACTING.get() is self:
            item.origin = "sent"
            self.external.append(item)
            return True
        return await self._enter_turn(item)

    async def hear(self, event: str, payload: Any = None, *, again: bool = False) -> bool:
        """Trigger the next event of a script: one that is not to be triggered again after a crash.

        ``again`` says that it may have been sent before the crash, which then lost it.
        """
        data = came_with(payload)
        if again:
            data = {**(data or {}), "again": True}
        cause = record("trigger", event, design=self.design, cause=self.born, data=data)
        return await self._enter_turn(Item(event, payload, cause, "script"))

    def _shortcut(self, event: str) -> Arrow | None:
        """Find the one transition that a plain state takes without asking or calling anybody."""
        chart = self.chart
        arrows = chart.candidates(self.active[0], event)
        if arrows and arrows[0].is_simple and not (chart.has_always or self._unsettled or self.external):
            return arrows[0]
        return None

    def _jump(self, arrow: Arrow, event: str, payload: Any) -> bool:
        cause = record("trigger", event, design=self.design, cause=self.born, data=came_with(payload))
        facts = self.chart.facts(event, self.active, arrow.targets, (arrow,))
        self.active = [arrow.targets[0]]
        self.event_number += 1
        record("transition", arrow.id, design=self.design, cause=cause, data=facts)
        if self._changed is not None:
            self._tell_change()
        return True

    async def _enter_turn(self, item: Item | None) -> bool:
        """Wait until it is this item's turn, carry it out, and give the turn to the next."""
        if self._busy:
            waiting = item or Item("")
            waiting.turn = asyncio.get_running_loop().create_future()
            self.external.append(waiting)
            try:
                await waiting.turn
            except asyncio.CancelledError:
                if waiting in self.external:
                    self.external.remove(waiting)
                else:  # the turn came in the same moment
                    self._pass_on()
                raise
        self._busy = True
        token = _ACTING.set(self)
        try:
            return await self._carry_out(item)
        finally:
            _ACTING.reset(token)
            self._pass_on()

    async def _carry_out(self, item: Item | None) -> bool:
        if not self._started:
            await self._begin()
        if self.timers:
            self.timers.resume()
        if self._unsettled:
            await self._settle()
        taken = item is not None and await self._take(item)
        while self.external and self.external[0].turn is None and not self.done:
            await self._take(self.external.popleft())
        return taken

    def _pass_on(self) -> None:
        external = self.external
        if not external:
            self._busy = False
        elif external[0].turn is None:
            spawn(self._work_off())
        else:
            turn = external.popleft().turn
            assert turn is not None  # noqa: S101 - just seen
            if turn.done():  # whoever waited was cancelled a moment ago
                self._pass_on()
                return
            turn.set_result(None)
        if self._changed is not None:
            self._tell_change()

    async def _work_off(self) -> None:
        """Carry out what waits in the queue with nobody waiting for it."""
        token = _ACTING.set(self)
        try:
            await self._carry_out(None)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the session, else raised
            self.fail(error)
        finally:
            _ACTING.reset(token)
            self._pass_on()

    # -- a step --

    async def _begin(self) -> None:
        if self.born is None:
            self.born = record("machine", self.design, design=self.design, data=self.machine.described(self))
        self.cause = self.born
        past = None if self.keeper is None else await self.keeper.read()
        if past is not None and past.step is not None:
            await self._resume(past)
            return
        if self.keeper is not None:
            self.began_ns = wall_ns()
        entry = Entry(self.past)
        entry.begin(self.chart.root)
        await Step(self, (), Item("", cause=self.born, origin="start"), entry).take()
        self._started = True
        await self._settle()

    async def _resume(self, past: Past) -> None:
        """Go on from what the journal holds."""
        assert past.step is not None  # noqa: S101 - the caller saw it
        assert self.keeper is not None  # noqa: S101 - it read the past
        timers = restore(self, past)
        self.resumed = True
        told = {"key": self.keeper.key, "in": [node.name for node in self.leaves], "timers": len(timers)}
        if self.done:  # a crash may have struck when the end was kept and not yet told
            told["done"] = True
        self.cause = record("resume", self.design, design=self.design, cause=self.born, data=told)
        self.internal = [self.inner(event, payload) for event, payload in past.internal]
        self.external.extend(
            Item(event, payload, self.cause, "sent") for event, payload in past.step["external"]
        )
        self._started = True
        for timer in timers:
            self.timers.set(timer)
        if past.begun is not None:
            await self._redo(past.begun)
        await self._settle()

    def inner(self, event: str, payload: Any) -> Item:
        """Make an event of the internal queue, out of what a journal says of it."""
        return Item(event, payload, self.cause, "internal")

    async def _redo(self, begun: dict[str, Any]) -> None:
        """Finish the step that a crash broke off."""
        origin: Origin = begun["from"]
        if origin == "internal":
            while self.internal and self.internal.pop(0).event != begun["event"]:
                pass  # those before it had been dropped
        elif origin == "sent" and self.external:
            self.external.popleft()
        self.event_number, self.step_number = begun["at"][0], begun["at"][1] - 1
        arrows = [arrow_named(self.chart, name) for name in begun["taken"]]
        for arrow in arrows:
            self.timers.cancel(arrow.id)
        item = Item(begun["event"], begun["payload"], self.cause, origin)
        try:
            await Step(self, arrows, item).take()
        except Exception as error:  # noqa: BLE001 - raised again unless the machine has an answer
            await self._put_up_with(error, arrows, item)

    async def _take(self, item: Item) -> bool:
        """Let the machine answer an event from outside, and all that follows from it inside."""
        self.event_number += 1
        self.step_number = 0
        self._unsettled = True
        self.heard += item.origin == "script"
        taken = await self._answer(item)
        await self._settle()
        return taken

    async def _answer(self, item: Item) -> bool:
        self.cause = item.cause
        arrows: Sequence[Arrow] = ()
        try:
            if not self.done:
                arrows = await (due(self, item) if item.timer else enabled(self, item))
            if arrows:
                await Step(self, arrows, item).take()
                return True
        except Exception as error:  # noqa: BLE001 - raised again unless the machine has an answer
            await self._put_up_with(error, arrows, item)
            return False
        await self._drop(item)
        return False

    async def _settle(self) -> None:
        """Go on without a new event from outside: eventless transitions first, then the internal queue."""
        self._unsettled = True
        for _ in range(MICROSTEPS_MAX):
            if self.done:
                break
            arrows = await automatic(self)
            if arrows:
                await self._go_on(arrows)
            elif self.internal:
                await self._answer(self.internal.pop(0))
            else:
                break
        else:
            names = ", ".join(node.name for node in self.leaves)
            raise DesignError(
                f"{self.chart.title} made {MICROSTEPS_MAX} steps without an event and comes to no rest (now in "
                f"{names}); guard its eventless transitions, or the events that it raises"
            )
        self._unsettled = False
        if self.done:
            self.timers.clear()

    async def _go_on(self, arrows: Sequence[Arrow]) -> None:
        item = Item("", cause=self.cause, origin="always")
        try:
            await Step(self, arrows, item).take()
        except Exception as error:  # noqa: BLE001 - raised again unless the machine has an answer
            await self._put_up_with(error, arrows, item)

    # -- when it fails, or nobody answers --

    async def _put_up_with(self, error: Exception, arrows: Sequence[Arrow], item: Item) -> None:
        """Turn an error into an event, if the machine may have an answer to it; else raise it."""
        answers_error = any(arrow.events and matches(arrow.events, ERROR) for arrow in arrows)
        if answers_error or self.done or not any(self.chart.candidates(leaf, ERROR) for leaf in self.leaves):
            where = ", ".join(node.name for node in self.leaves)
            note_once(error, f"{self.chart.title} stays in {where or 'no state'}")
            await self._abandon(item)
            raise error
        self.raise_error(error)
        await self._abandon(item)

    async def _abandon(self, item: Item) -> None:
        if self.keeper is not None:
            await self.keeper.abandon(self, item)

    def raise_error(self, error: Exception) -> None:
        """Make an error of the user's code the event ``error.execution``."""
        self.raise_internal(ERROR, describe_error(error), cause=origin_of(error), error=error)

    async def _drop(self, item: Item) -> None:
        """Nobody answers: say so in the history, and to the caller if the machine is strict."""
        await self._abandon(item)
        if item.timer is None:
            inside = [node.name for node in self.leaves]
            told = {"in": inside} | ({"ended": True} if self.done else {})
            if not item.event.startswith("done."):
                record("drop", item.event, design=self.design, cause=item.cause, data=told)
        if item.error is not None and not self.continues:
            raise item.error
        if (
            self.machine.unhandled == "raise"
            and item.timer is None
            and not item.event.startswith(("done.", "error."))
        ):
            known = [event for arrow in self.chart.arrows for event in arrow.events]
            hint = "" if item.event in known else did_you_mean(item.event, known)
            raise EventRefused(item.event, tuple(node.name for node in self.leaves), self.design, hint)

    # -- what functions set off --

    def raise_internal(
        self, event: str, payload: Any, cause: int | None = None, error: Exception | None = None
    ) -> None:
        """Put an event on the internal queue."""
        told = record(
            "raise",
            event,
            design=self.design,
            cause=self.cause if cause is None else cause,
            data=came_with(payload),
        )
        item = Item(event, payload, told, "internal")
        item.error = error
        self.internal.append(item)

    def send_later(self, event: str, payload: Any, after: Duration, name: str | None) -> str:
        """Send an event when the step at hand is done, or a while after."""
        self._sends += 1
        name = name or f"send.{self.event_number}.{self._sends}"
        self.outbox.append(
            Timer(name, wall_ns() + parse_duration(after, f"after of {event!r}"), event, payload, None)
        )
        return name

    def cancel_sent(self, name: str) -> None:
        """Take back what was sent with a delay, when the step at hand is done."""
        self.outbox.append(name)

    # -- time --

    def _fire(self, timer: Timer) -> None:
        spawn(self._on_time(timer))

    async def _on_time(self, timer: Timer) -> None:
        arrow = timer.arrow
        name = timer.event if arrow is None else arrow.source.name
        try:
            fault = await fault_point("timer", kind="timer", design=self.design, name=name)
            if (arrow is None or _is_loss(fault)) and not self.timers.spend(timer):
                return
            if _is_loss(fault):
                return
            item = Item(timer.event, timer.payload, self.born, "timer" if arrow else "sent")
            if arrow is not None:
                item.timer = timer
            else:
                item.cause = record("timer", name, design=self.design, cause=self.born)
                if self._busy:
                    self.external.append(item)
                    return
            await self._enter_turn(item)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the session, else raised
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Tell of an error that struck where nobody had triggered anything."""
        if not self._waiters:
            raise error
        self._failure = error
        self._tell_change()

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    async def wait(self, *, until_done: bool = True) -> None:
        """Wait until the machine has ended; with ``until_done=False``, until nothing goes on in it."""
        self._waiters += 1
        try:
            while self._failure is None and not self.done and (until_done or not self.idle):
                if self._changed is None:
                    self._changed = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._changed)
        finally:
            self._waiters -= 1
        if self._failure is not None:
            error, self._failure = self._failure, None
            raise error


def _is_loss(fault: Fault | None) -> bool:
    return fault is not None and fault.kind == "lose"
