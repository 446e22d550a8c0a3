"""What makes a session durable: each step is in a journal before it is true, so a crash loses none.

A record is one of these:

- ``begin``: these transitions, for this event, are about to call functions of the user's.
- ``call``: one of those functions has been called; with ``actions="at_most_once"`` also: is about to be.
- ``step``: the transitions are made; the whole state of the session.
- ``drop``: the event led to nothing, or its functions failed and the step was given up.

A session that finds a ``begin`` without its ``step`` finishes that step, and leaves out the calls that are
recorded. So a crash between a function's effect and its record repeats the function (at least once), or,
with the record made first, may leave it out (at most once). No order of the two does better; a function
that must not do its work twice hands ``context.id``, which is the same both times, to whom it calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from wfsim.errors import DesignError
from wfsim.kernel import fault_point
from wfsim.workflows._statemachine._timers import Timer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wfsim.workflows._statemachine._chart import Arrow, Chart, Node
    from wfsim.workflows._statemachine._item import Item, Plan
    from wfsim.workflows._statemachine._session import Session


class Journal(Protocol):
    """Where a machine keeps what must survive a crash: lists of records, one list for each key."""

    async def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Add a record; it is durable when this returns."""

    async def read(self, key: str) -> list[dict[str, Any]]:
        """Give the records of a key in the order in which they were added."""


class Keeper:
    """Writes the records of one session, and brings a session back from them."""

    def __init__(self, journal: Journal, key: str, *, mark_first: bool) -> None:
        self.key = key
        self._journal = journal
        self._mark_first = mark_first
        self._done: dict[str, dict[str, Any]] = {}  # the calls that the session which crashed has made
        self._begun = False

    # -- writing --

    async def begin(
        self,
        session: Session,
        arrows: Sequence[Arrow],
        item: Item,
        calls: bool,  # noqa: FBT001
    ) -> None:
        """Record what is about to be done, if any function is to be called."""
        self._begun = calls
        if calls and not self._done:
            await self._append(
                session,
                {
                    "do": "begin",
                    "event": item.event,
                    "payload": item.payload,
                    "at": [session.event_number, session.step_number],
                    "from": item.origin,
                    "taken": [arrow.id for arrow in arrows],
                    "heard": session.heard,
                },
            )

    def done_before(self, place: str) -> dict[str, Any] | None:
        """Give the record of a call that was made before the crash; None if it was not."""
        return self._done.get(place)

    async def before_call(self, session: Session, place: str) -> None:
        """Record a call before it is made, if it must not be made twice."""
        if self._mark_first:
            await self._record_call(session, place, (), (), None)

    async def after_call(self, session: Session, place: str, since: tuple[int, int], value: Any) -> None:
        """Record a call that was made, and what it set off: what came to the queues ``since``."""
        raised, sent = session.internal[since[0] :], session.outbox[since[1] :]
        await self._record_call(session, place, raised, sent, value)

    async def _record_call(
        self,
        session: Session,
        place: str,
        raised: Iterable[Item],
        sent: Iterable[Timer | str],
        value: Any,
    ) -> None:
        await self._append(
            session,
            {
                "do": "call",
                "place": place,
                "data": session.data,
                "raised": _queue(raised),
                "sent": [one if isinstance(one, str) else _told(one) for one in sent],
                "value": value,
            },
        )

    async def step(self, session: Session, plan: Plan) -> None:
        """Record a step, and with it all that the session is then."""
        await self._append(
            session,
            {
                "do": "step",
                "at": [session.event_number, session.step_number],
                "states": [node.name for node in session.active],
                "past": {name: [node.name for node in nodes] for name, nodes in session.past.items()},
                "data": session.data,
                "input": session.input,
                "output": session.output,
                "done": session.done,
                "timers": [_told(timer) for timer in plan.timers],
                "internal": _queue(session.internal),
                "external": _queue(session.external) + _queue(plan.sent),
                "heard": session.heard,
                "began_ns": session.began_ns,
            },
        )
        self._done.clear()

    async def abandon(self, session: Session, item: Item) -> None:
        """Record that an event led to nothing, if something was recorded that says otherwise."""
        if not (self._begun or item.timer or item.origin == "script"):
            return
        self._begun = False
        self._done.clear()
        spent = item.timer.name if item.timer else None
        await self._append(
            session,
            {
                "do": "drop",
                "at": [session.event_number, session.step_number],
                "internal": _queue(session.internal),
                "heard": session.heard,
                "spent": spent,
            },
        )

    async def _append(self, session: Session, record: Mapping[str, Any]) -> None:
        place = "start" if session.event_number == 0 else str(record["do"])
        await fault_point("persist", kind="persist", design=session.machine.name, name=place)
        await self._journal.append(self.key, record)

    # -- reading --

    async def read(self) -> Past:
        """Give what the journal says of the session so far."""
        past = Past()
        for record in await self._journal.read(self.key):
            past.heard = max(past.heard, record.get("heard", 0))
            past.at = record.get("at", past.at)
            if record["do"] == "begin":
                past.begun = record
                self._done.clear()
            elif record["do"] == "call":
                self._done[record["place"]] = record
            else:
                past.end(record)
                self._done.clear()
        return past


class Past:
    """What a journal says: the last step, the step that a crash broke off, and how far the script came."""

    __slots__ = ("at", "begun", "heard", "internal", "spent", "step")

    def __init__(self) -> None:
        self.step: dict[str, Any] | None = None
        self.begun: dict[str, Any] | None = None
        self.internal: list[tuple[str, Any]] = []
        self.spent: list[str] = []
        self.at = [0, 0]
        self.heard = 0

    def end(self, record: dict[str, Any]) -> None:
        """Take in that a step was made, or that an event led to nothing."""
        self.begun = None
        self.internal = [(event, payload) for event, payload in record["internal"]]
        if record["do"] == "step":
            self.step = record
            self.spent = []
        elif record["spent"]:
            self.spent.append(record["spent"])


def restore(session: Session, past: Past) -> list[Timer]:
    """Put a session where its journal says it was; give its timers, to be set again."""
    step, chart = past.step, session.chart
    assert step is not None  # noqa: S101 - the caller saw that there is one
    session.event_number, session.step_number = past.at
    session.heard = past.heard
    session.began_ns = step.get("began_ns")
    session.active = [_node(chart, name) for name in step["states"]]
    session.past = {name: [_node(chart, one) for one in nodes] for name, nodes in step["past"].items()}
    session.data.clear()
    session.data.update(step["data"])
    session.input, session.output, session.done = step["input"], step["output"], step["done"]
    return [_timer(chart, told) for told in step["timers"] if told["name"] not in past.spent]


def take_up(session: Session, call: Mapping[str, Any]) -> None:
    """Do again what a recorded call did to its session, without calling it."""
    session.data.clear()
    session.data.update(call["data"])
    session.internal.extend(session.inner(event, payload) for event, payload in call["raised"])
    session.outbox.extend(one if isinstance(one, str) else _timer(session.chart, one) for one in call["sent"])


def _queue(items: Iterable[Item | Timer]) -> list[list[Any]]:
    """Write down events, save those that somebody outside holds: who waits for a turn will come again."""
    return [[item.event, item.payload] for item in items if isinstance(item, Timer) or item.turn is None]


def _node(chart: Chart, name: str) -> Node:
    return chart.node(name, "a state in the journal")


def _told(timer: Timer) -> dict[str, Any]:
    arrow = None if timer.arrow is None else timer.arrow.id
    return {
        "name": timer.name,
        "due_ns": timer.due_ns,
        "event": timer.event,
        "payload": timer.payload,
        "arrow": arrow,
    }


def _timer(chart: Chart, told: Mapping[str, Any]) -> Timer:
    arrow = None if told["arrow"] is None else arrow_named(chart, told["arrow"])
    return Timer(told["name"], told["due_ns"], told["event"], told["payload"], arrow)


def arrow_named(chart: Chart, name: str) -> Arrow:
    """Find a transition that a journal speaks of. Raise DesignError if the machine has it no more."""
    for arrow in chart.arrows:
        if arrow.id == name:
            return arrow
    raise DesignError(
        f"the journal of {chart.title} is in the middle of the transition {name!r}, which the machine has no "
        "more; finish such journals with the version that wrote them"
    )
