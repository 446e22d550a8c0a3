"""The way from the bus to a subscriber: how long it takes, and what faults do to what is on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.workflows._events._points import CARRIED_OUT_HERE, LOSSES

if TYPE_CHECKING:
    from wfsim.kernel import Fault
    from wfsim.workflows._events._consumer import Consumer
    from wfsim.workflows._events._event import Event
    from wfsim.workflows._events._points import Place
    from wfsim.workflows._events._queue import Message, Queue


class Transit:
    """The line between the bus and the members of one queue."""

    __slots__ = ("_constant_ns", "_held", "_home", "_latency", "_queue", "_stream")

    def __init__(self, queue: Queue) -> None:
        broker = queue.broker
        self._queue = queue
        self._home = broker.home
        self._latency = broker.latency
        self._stream: Any = self._home.stream(f"events/{queue.design}/{queue.name}")
        # In production the network itself takes the time.
        self._constant_ns = 0 if self._stream is None else getattr(self._latency, "duration_ns", None)
        self._held: list[_Held] = []

    def send(self, member: Consumer, message: Message, attempt: int) -> None:
        """Send a message on its way."""
        place = member.line(message).deliver
        if place is not None and (fault := place.ask(attempt)) is not None:
            self._struck(fault, place, (member, message, attempt, message.event))
            return
        self._carry(member, message, attempt, message.event)

    def _carry(self, member: Consumer, message: Message, attempt: int, event: Event) -> None:
        delay_ns = self._constant_ns
        if delay_ns is None:
            delay_ns = self._latency.sample_ns(self._stream)
        if delay_ns:
            home = self._home
            home.at(home.now_ns() + delay_ns, member.receive, message, attempt, event)
        else:
            member.receive(message, attempt, event)
        if self._held:
            self._overtake()

    # -- faults

    def _struck(self, fault: Fault, place: Place, load: _Load) -> None:
        _, message, attempt, event = load
        place.record(fault, attempt, message.cause)
        if fault.kind not in CARRIED_OUT_HERE:
            self._home.start(self._wait_for(fault, place, load))
            return
        carried: Any = fault
        if fault.kind in LOSSES:
            self._lose(message)
        elif fault.kind == "duplicate":
            for _ in range(1 + carried.copies):
                self._carry(*load)
        elif fault.kind == "reorder":
            self._hold(carried, load)
        else:
            self._carry(*load[:3], event.with_payload(carried.corrupted(event.payload)))

    async def _wait_for(self, fault: Fault, place: Place, load: _Load) -> None:
        """Let a fault that acts by itself (a delay, a crash) do so while the message is on its way."""
        try:
            await place.strike(fault, load[2])
        except Exception:  # noqa: BLE001 - the line failed: nobody is there to be told, the message is gone
            self._lose(load[1])
            return
        self._carry(*load)

    def _lose(self, message: Message) -> None:
        """A message is gone. One that nobody acknowledges is gone for good."""
        if not self._queue.acknowledged:
            self._queue.settle(message)

    def _hold(self, fault: Any, load: _Load) -> None:
        held = _Held(fault.behind, load)
        self._held.append(held)
        self._home.after(fault.at_most_ns, self._let_go, held)

    def _overtake(self) -> None:
        for held in list(self._held):
            held.behind -= 1
            if held.behind <= 0:
                self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        if held in self._held:
            self._held.remove(held)
            self._carry(*held.load)


_Load = tuple["Consumer", "Message", int, "Event"]


class _Held:
    """A message that is held back until others have overtaken it."""

    __slots__ = ("behind", "load")

    def __init__(self, behind: int, load: _Load) -> None:
        self.behind = behind
        self.load = load


async def acknowledge(place: Place, fault: Fault, message: Message, attempt: int, op: int | None) -> bool:
    """Carry an acknowledgement back to the bus through a fault. False if it got lost."""
    place.record(fault, attempt, message.cause, op)
    try:
        await place.strike(fault, attempt)
    except Exception:  # noqa: BLE001 - the line failed: the bus never hears of it
        return False
    return fault.kind not in LOSSES
