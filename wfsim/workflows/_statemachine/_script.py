"""A script: what happens to a machine from outside, in a row or each event at its time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from wfsim.errors import DesignError, DurationError
from wfsim.kernel import sleep
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._naming import checked_name
from wfsim.workflows._wallclock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.workflows._statemachine._session import Session


@dataclass(frozen=True, slots=True)
class At:
    """An event that comes ``when`` so much time has passed since the start, whatever the machine does then.

    If the machine is busy the event waits for its turn; the next ones come at their times all the same. With a
    journal the start is that of the first life: what was due while the machine was down comes at once.
    Raises DesignError for a time or an event that is none.
    """

    when: Duration
    event: str
    payload: Any = None
    when_ns: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the time."""
        checked_name(self.event, "an event of a script")
        try:
            object.__setattr__(self, "when_ns", parse_duration(self.when))
        except DurationError as error:
            raise DesignError(f"the time of event {self.event!r}: {error}") from None


InTurn: TypeAlias = "str | tuple[str, Any] | timedelta"
"""One thing that happens to a machine, once it has dealt with the one before: an event, an event with what comes
with it, or time that passes."""

Happening: TypeAlias = "InTurn | At"


def check_script(script: Sequence[Happening]) -> None:
    """Raise DesignError if a script holds what cannot happen, or events in a row and events that have a time."""
    for one in script:
        match one:
            case str() | timedelta() | At() | (str(), _):
                continue
            case _:
                raise DesignError(
                    "a script is made of events ('pay', or ('pay', 20) with what comes with it), of timedeltas, or "
                    f"of At(when, event); {one!r} is none of these"
                )
    timed = [isinstance(one, At) for one in script]
    if any(timed) and not all(timed):
        odd = script[timed.index(False)]
        raise DesignError(
            f"a script says of every event when it comes, or of none: {odd!r} has no time; write At(when, event) "
            "for all of them"
        )


async def play(session: Session, script: Sequence[Happening]) -> None:
    """Let a script happen, without what had happened before a crash."""
    if script and isinstance(script[0], At):
        await _play_timed(session, [one for one in script if isinstance(one, At)])
    else:
        await _play_in_turn(session, [one for one in script if not isinstance(one, At)])


async def _play_in_turn(session: Session, script: Sequence[InTurn]) -> None:
    for happening in _rest(script, session.heard):
        if session.done:
            return
        if isinstance(happening, timedelta):
            await sleep(happening.total_seconds())
        else:
            event, payload = happening if isinstance(happening, tuple) else (happening, None)
            await session.hear(event, payload)


def _rest(script: Sequence[InTurn], heard: int) -> Sequence[InTurn]:
    """Give what of a script is still to happen, when so many of its events have been heard.

    Time that was to pass after the last event has begun to pass before the crash; nobody waits for it again.
    """
    events = [place for place, one in enumerate(script) if not isinstance(one, timedelta)]
    if not heard:
        return script
    return script[events[heard - 1] + 1 :] if heard < len(events) else ()


async def _play_timed(session: Session, script: Sequence[At]) -> None:
    """Send each event at its time; what goes wrong while the machine answers one ends the run."""
    now_ns = wall_ns()
    began_ns = now_ns if session.began_ns is None else session.began_ns
    over = asyncio.create_task(session.wait(), name=f"{session.design} runs")
    sent = []
    try:
        for at in sorted(script, key=lambda one: one.when_ns)[session.heard :]:
            due_ns = began_ns + at.when_ns
            if due_ns > wall_ns():
                await asyncio.wait([over], timeout=(due_ns - wall_ns()) / NS_PER_SECOND)
            if over.done():
                break
            again = (
                session.resumed and due_ns < now_ns
            )  # it came while the machine was down, or was lost with it
            sent.append(
                asyncio.create_task(
                    _send(session, at, again=again), name=f"{session.design} hears {at.event}"
                )
            )
        await asyncio.gather(*sent)
        if over.done():
            await over
    finally:
        over.cancel()


async def _send(session: Session, at: At, *, again: bool) -> None:
    """Send one event. Its error is told to whoever waits for the session."""
    try:
        await session.hear(at.event, at.payload, again=again)
    except Exception as error:  # noqa: BLE001 - raised again where the session is waited for
        session.fail(error)
