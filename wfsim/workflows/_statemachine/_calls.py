"""The user's functions: each is called as one operation, and once, also if a crash comes in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.kernel import perform
from wfsim.workflows._statemachine._keeper import take_up

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.workflows._statemachine._chart import Arrow
    from wfsim.workflows._statemachine._context import MachineContext
    from wfsim.workflows._statemachine._parts import Call
    from wfsim.workflows._statemachine._session import Session


async def do(session: Session, calls: Iterable[Call], context: MachineContext) -> None:
    """Call functions one after the other. Where errors continue, one that fails becomes an event."""
    for call in calls:
        try:
            await _call(session, call, context)
        except Exception as error:
            if not session.continues:
                raise
            session.raise_error(error)


async def output_of(session: Session, call: Call, context: MachineContext) -> Any:
    """Ask a final state's function for its output; None if it fails and errors continue."""
    try:
        return await _call(session, call, context)
    except Exception as error:
        if not session.continues:
            raise
        session.raise_error(error)
        return None


async def ask(session: Session, arrow: Arrow, context: MachineContext) -> bool:
    """Tell whether a transition may be taken now."""
    if arrow.unless and all(target in session.active for target in arrow.unless):
        return False
    if not all(node in session.active for node in arrow.in_state):
        return False
    if arrow.guard is None:
        return True
    call = arrow.guard
    args = (context,) if call.takes_context else ()
    data = {"transition": arrow.id}
    try:
        return bool(
            await perform("guard", session.design, call.name, call.fn, *args, cause=session.cause, data=data)
        )
    except Exception as error:
        if not session.continues:
            raise
        session.raise_error(error)
        return False


async def _call(session: Session, call: Call, context: MachineContext) -> Any:
    session.calls += 1
    place = f"{session.event_number}.{session.step_number}.{session.calls}"
    keeper = session.keeper
    context.id = f"{keeper.key if keeper else session.design}/{place}/{call.name}"
    if keeper is None:
        return await _perform(session, call, context)
    done = keeper.done_before(place)
    if done is not None:
        take_up(session, done)
        return done["value"]
    await keeper.before_call(session, place)
    since = len(session.internal), len(session.outbox)
    value = await _perform(session, call, context)
    await keeper.after_call(session, place, since, value if call.kind == "output" else None)
    return value


async def _perform(session: Session, call: Call, context: MachineContext) -> Any:
    args = (context,) if call.takes_context else ()
    data = {"of": call.where, "id": context.id}
    design, cause = session.design, session.cause
    if call.retry is None:
        return await perform(call.kind, design, call.name, call.fn, *args, cause=cause, data=data)

    async def attempt(number: int, again: int | None = None, /) -> Any:
        since = cause if again is None else again
        return await perform(
            call.kind, design, call.name, call.fn, *args, attempt=number, cause=since, data=data
        )

    return await call.retry.run(attempt, design=design, name=call.name)
