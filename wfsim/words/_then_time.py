"""Expectations of time: what is due later, what came due, how long it took."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any, Self

from wfsim.errors import DesignError
from wfsim.history import plain_data
from wfsim.units import format_duration, parse_duration
from wfsim.words._calls import ANY
from wfsim.words._demand import Demands, compared
from wfsim.words._failure import Finding
from wfsim.words._names import check_name
from wfsim.words._play import WHEN
from wfsim.words._sentence import as_date, ns_until
from wfsim.words._told import due_in, fired_in
from wfsim.workflows import StateMachine

if TYPE_CHECKING:
    from datetime import datetime

    from wfsim.units import Duration
    from wfsim.words._play import Scene
    from wfsim.words._told import Due


class TimeWords(Demands, ABC):
    """What is due, and when."""

    def then_scheduled(
        self,
        name: str,
        *,
        after: Duration | None = None,
        at: str | datetime | None = None,
        payload: Any = ANY,
        key: str | None = None,
    ) -> Self:
        """Expect that this is due later: ``after`` so much more time, or ``at`` a date, to the nanosecond.

        Of a state machine's timer the name is the transition's, the state's that it leaves or enters, or the event's
        that was sent, which may have a ``payload``; a wait before the next try goes by ``"retry charge"``.
        """
        __tracebackhide__ = True
        self._check_due(name)
        moment = _Moment(after, at)

        def look(scene: Scene) -> Finding | None:
            due = _of(_due(scene), key)
            fits = [one for one in due if name in one.names and moment.holds(one, scene)]
            if any(payload is ANY or plain_data({"value": payload})["value"] == one.payload for one in fits):
                return None
            wanted = f"{name}{moment}{'' if payload is ANY else f' with {payload!r}'}"
            return Finding(f"{wanted} is not scheduled", (wanted,), "", _words(due))

        return self._demand("then_scheduled", look)

    def then_not_scheduled(
        self,
        name: str,
        *,
        after: Duration | None = None,
        at: str | datetime | None = None,
        between: tuple[str | datetime, str | datetime] | None = None,
        key: str | None = None,
    ) -> Self:
        """Expect that this is not due any more: it never was, it came, or it was cancelled.

        With ``after``, ``at`` or ``between`` (two dates, both included), only that it is not due just then.
        """
        __tracebackhide__ = True
        self._check_due(name)
        moment = _Moment(after, at, between)

        def look(scene: Scene) -> Finding | None:
            due = _of(_due(scene), key)
            return _not_due([one for one in due if name in one.names and moment.holds(one, scene)])

        return self._demand("then_not_scheduled", look)

    def then_nothing_scheduled(self, *, key: str | None = None) -> Self:
        """Expect that nothing is due later."""
        __tracebackhide__ = True
        return self._demand("then_nothing_scheduled", lambda scene: _not_due(_of(_due(scene), key)))

    def then_fired(
        self, *names: str, in_order: bool = True, none_other: bool = True, key: str | None = None
    ) -> Self:
        """Expect that these timers came due and were answered; none, if none is named."""
        __tracebackhide__ = True
        for name in names:
            self._check_due(name)

        def look(scene: Scene) -> Finding | None:
            fired = _of(fired_in(scene.history, scene.since), key)
            return compared("timer", names, fired, lambda name, one: name in one.names,
                            in_order=in_order, none_other=none_other)  # fmt: skip

        return self._demand("then_fired", look)

    def then_took(self, *, at_most: Duration | None = None, at_least: Duration | None = None) -> Self:
        """Expect that what came took so much virtual time until the sentence ended."""
        __tracebackhide__ = True
        if at_most is None and at_least is None:
            raise DesignError("then_took() needs a limit: then_took(at_most='5s')")
        most = None if at_most is None else parse_duration(at_most, "at_most")
        least = 0 if at_least is None else parse_duration(at_least, "at_least")

        def look(scene: Scene) -> Finding | None:
            took = scene.run.duration_ns - _begin_ns(scene)
            if least <= took and (most is None or took <= most):
                return None
            limit = (
                f"at most {format_duration(most)}"
                if most is not None and took > most
                else (f"at least {format_duration(least)}")
            )
            return Finding(f"it took {format_duration(took)}, expected {limit}")

        return self._demand("then_took", look)

    def _check_due(self, name: str) -> None:
        known: list[str] = []
        for scene in self._scenes:
            history = scene.history
            known += [one for due in (*_due(scene), *fired_in(history, -1)) for one in due.names]
            design = scene.sentence.subject.example
            if isinstance(design, StateMachine):
                for arrow in design.transitions:
                    if arrow.after_ns is not None:
                        known += [arrow.id, arrow.source, *arrow.targets]
        subject = self._scenes[0].sentence.subject
        check_name("timer", name, known, f"{type(subject.example).__name__} {subject.name!r}", is_all=False)


class _Moment:
    """When something is due: at any time, if nothing is said."""

    def __init__(
        self,
        after: Duration | None,
        at: str | datetime | None,
        between: tuple[str | datetime, str | datetime] | None = None,
    ) -> None:
        self._after_ns = None if after is None else parse_duration(after, "after")
        dates = (at, at) if at is not None else between
        self._dates = None if dates is None else (as_date(dates[0]), as_date(dates[1]))
        if self._dates is not None and self._dates[0] > self._dates[1]:
            raise DesignError(f"between={between!r} ends before it begins; write the earlier date first")
        self._words = f" in {after}" if after is not None else f" at {at}" if at is not None else ""

    def holds(self, due: Due, scene: Scene) -> bool:
        """Tell whether something is due then."""
        if self._after_ns not in {None, due.in_ns}:
            return False
        if self._dates is None:
            return True
        first, last = (ns_until(date, scene.sentence.start) for date in self._dates)
        return first <= due.at_ns <= last

    def __str__(self) -> str:
        return self._words


def _begin_ns(scene: Scene) -> int:
    marks = [op for op in scene.history.where(kind=WHEN) if op.index >= scene.since]
    return marks[0].time_ns if marks else 0


def _due(scene: Scene) -> tuple[Due, ...]:
    return due_in(scene.history, scene.run.duration_ns)


def _of(due: tuple[Due, ...], key: str | None) -> list[Due]:
    return [one for one in due if key in {None, one.instance}]


def _words(due: list[Due]) -> tuple[str, ...]:
    return tuple(f"{one.instance}: {one}" for one in due)


def _not_due(wrong: list[Due]) -> Finding | None:
    if not wrong:
        return None
    ops = tuple(one.op for one in wrong)
    return Finding(f"{', '.join(map(str, wrong))} is scheduled", (), "none scheduled", _words(wrong), ops=ops)
