"""Which transitions are taken: SCXML's selection, with the conflicts between regions resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.kernel import event as record
from wfsim.workflows._statemachine._calls import ask
from wfsim.workflows._statemachine._context import MachineContext
from wfsim.workflows._statemachine._entry import without_conflicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wfsim.workflows._statemachine._chart import Arrow, Node
    from wfsim.workflows._statemachine._item import Item
    from wfsim.workflows._statemachine._session import Session


async def enabled(session: Session, item: Item) -> Sequence[Arrow]:
    """Give the transitions that answer an event now."""
    context = MachineContext(session, item.event, item.payload, item.error)
    return await _choose(session, context, lambda leaf: session.chart.candidates(leaf, item.event))


async def automatic(session: Session) -> Sequence[Arrow]:
    """Give the eventless transitions that can be taken now."""
    if not session.chart.has_always:
        return ()
    return await _choose(session, MachineContext(session, "", None, None), _eventless)


async def due(session: Session, item: Item) -> Sequence[Arrow]:
    """Give the transition whose time has come; none if its state was left in the same moment."""
    timer = item.timer
    if timer is None or timer.arrow is None or not session.timers.spend(timer):
        return ()
    arrow = timer.arrow
    told = {"transition": arrow.id, "after_ns": arrow.after_ns}
    item.cause = session.cause = record(
        "timer", arrow.source.name, design=session.design, cause=session.born, data=told
    )
    return (arrow,) if await ask(session, arrow, MachineContext(session, "", None, None)) else ()


def _eventless(leaf: Node) -> Iterable[Arrow]:
    return (arrow for node in (leaf, *leaf.up) for arrow in node.always)


async def _choose(
    session: Session, context: MachineContext, candidates: Callable[[Node], Iterable[Arrow]]
) -> Sequence[Arrow]:
    """Take, for each atomic state, the first candidate whose conditions hold; ask each guard once."""
    answers: dict[Arrow, bool] = {}
    found: list[Arrow] = []
    for leaf in session.leaves:
        for arrow in candidates(leaf):
            if arrow in found:
                break
            if arrow not in answers:
                answers[arrow] = await ask(session, arrow, context)
            if answers[arrow]:
                found.append(arrow)
                break
    return without_conflicts(found, session.active, session.past) if len(found) > 1 else found
