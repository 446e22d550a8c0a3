"""One step: transitions that are taken together, as a whole or not at all."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

from wfsim.kernel import event as record
from wfsim.workflows._statemachine._calls import do, output_of
from wfsim.workflows._statemachine._context import MachineContext
from wfsim.workflows._statemachine._entry import Entry, exit_set, is_over, remembered
from wfsim.workflows._statemachine._item import Before, Item, Plan, came_with
from wfsim.workflows._statemachine._parts import Call
from wfsim.workflows._statemachine._timers import Timer
from wfsim.workflows._wallclock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wfsim.workflows._statemachine._chart import Arrow, Node
    from wfsim.workflows._statemachine._session import Session


class Step:
    """Leaves states, acts, and enters states: SCXML's microstep."""

    __slots__ = ("_arrows", "_before", "_context", "_entering", "_entry", "_item", "_leaving", "_session")

    def __init__(
        self, session: Session, arrows: Sequence[Arrow], item: Item, entry: Entry | None = None
    ) -> None:
        session.step_number += 1
        session.calls = 0
        self._session = session
        self._arrows = arrows
        self._item = item
        self._before = Before(session)
        self._context = MachineContext(session, item.event, item.payload, item.error)
        self._leaving = exit_set(arrows, session.active, session.past) if arrows else []
        self._remember()
        self._entry = self._destinations() if entry is None else entry
        self._entering = self._entry.nodes()

    async def take(self) -> None:
        """Do it. If a function of the user's fails, or it is cancelled, the session stands as before."""
        session, keeper = self._session, self._session.keeper
        try:
            if keeper is not None:
                await keeper.begin(session, self._arrows, self._item, self._calls_any())
            await self._leave(self._leaving)
            for arrow in self._arrows:
                await do(session, arrow.actions, self._context)
            await self._enter()
            if session.done:
                await self._leave(list(reversed(session.active)))
            plan = self._plan()
            if keeper is not None:
                await keeper.step(session, plan)
        except BaseException:
            self._before.restore(session)
            raise
        self._commit(plan)

    def _destinations(self) -> Entry:
        entry = Entry(self._session.past)
        for arrow in self._arrows:
            entry.follow(arrow)
        return entry

    def _remember(self) -> None:
        session = self._session
        for node in self._leaving:
            for child in node.children:
                if child.history:
                    session.past[child.name] = remembered(child, session.active)

    async def _leave(self, leaving: Iterable[Node]) -> None:
        session = self._session
        for node in leaving:
            await do(session, node.on_exit, self._context)
            if not session.done:
                session.active.remove(node)

    async def _enter(self) -> None:
        session, entry, context = self._session, self._entry, self._context
        for node in self._entering:
            insort(session.active, node, key=_order)
            if node.on_entry:
                await do(session, node.on_entry, context)
            if node.order in entry.by_default and node.on_initial:
                await do(session, node.on_initial, context)
            if node.order in entry.without_past:
                await do(session, entry.without_past[node.order].arrows[0].actions, context)
            if node.is_final:
                await self._finish(node)

    async def _finish(self, final: Node) -> None:
        session = self._session
        parent = final.parent
        assert parent is not None  # noqa: S101 - only the root has none
        output = final.output
        if isinstance(output, Call):
            output = await output_of(session, output, self._context)
        if not parent.up:
            session.done, session.output = True, output
            return
        session.raise_internal(f"done.state.{parent.name}", output)
        above = parent.parent
        if above is not None and above.parallel and is_over(above, session.active):
            session.raise_internal(f"done.state.{above.name}", None)

    def _plan(self) -> Plan:
        """Work out what becomes of the timers and of what was sent, when the step is made."""
        session = self._session
        plan = Plan([arrow.id for node in self._leaving for arrow in node.afters])
        if session.done:
            plan.cancelled.extend(timer.name for timer in session.timers)
            return plan
        now: int | None = None
        for node in self._entering:
            for arrow in node.afters:
                now = wall_ns() if now is None else now
                plan.set.append(Timer(arrow.id, now + (arrow.after_ns or 0), "", None, arrow))
        for sent in session.outbox:
            if isinstance(sent, str):
                plan.take_back(sent)
            elif sent.due_ns > wall_ns():
                plan.set.append(sent)
            else:
                plan.sent.append(sent)
        plan.timers = [timer for timer in session.timers if timer.name not in plan.cancelled] + plan.set
        return plan

    def _commit(self, plan: Plan) -> None:
        """Make the step true: tell the history, set and cancel timers, send what was sent."""
        session, arrows, item = self._session, self._arrows, self._item
        name = arrows[0].id if arrows else "start"
        cue = item.event or (arrows[0].cue if arrows else "start")
        facts = session.chart.facts(cue, self._before.active, session.active, arrows)
        record("transition", name, design=session.design, cause=item.cause, data=facts)
        self._set_off(plan)
        if session.done:
            told = {"state": session.state} | ({} if session.output is None else {"output": session.output})
            record("done", session.design, design=session.design, cause=item.cause, data=told)

    def _set_off(self, plan: Plan) -> None:
        session = self._session
        for cancelled in plan.cancelled:
            session.timers.cancel(cancelled)
        for timer in plan.set:
            session.timers.set(timer)
        for sent in plan.sent:
            cause = record(
                "trigger",
                sent.event,
                design=session.design,
                cause=session.cause,
                data=came_with(sent.payload),
            )
            session.external.append(Item(sent.event, sent.payload, cause, "sent"))
        session.outbox.clear()

    def _calls_any(self) -> bool:
        """Tell whether the step calls any function of the user's."""
        return (
            any(arrow.actions for arrow in self._arrows)
            or any(node.on_exit for node in self._leaving)
            or any(
                node.on_entry or node.on_initial or isinstance(node.output, Call) for node in self._entering
            )
            or any(history.arrows[0].actions for history in self._entry.without_past.values())
        )


def _order(node: Node) -> int:
    return node.order
