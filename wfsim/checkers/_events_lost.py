"""Whether every event came to those who should have it, and in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._events import EventLog, Published, Subscriber, apart
from wfsim.checkers._verdict import Findings, Verdict
from wfsim.units import format_duration

if TYPE_CHECKING:
    from wfsim.history import History, Op


def no_event_lost(history: History, *, topic: str | None = None, subscriber: str | None = None) -> Verdict:
    """Each event was handled by each subscriber (or group) that was there when it was published.

    Who reads a store from an earlier position on should have it too. An event that nobody was there to hear
    is lost if a subscriber to its topic came later and never got it. An event set aside as a dead letter is
    not lost (``no_dead_letters`` judges those), nor is one whose publisher was told that it failed.
    ``topic`` is a pattern, ``subscriber`` a name or glob; all if None.
    """
    findings = Findings("no_event_lost")
    log = EventLog(history, topic, subscriber)
    for event in log.published:
        wanting = [one for one in log.subscribers if one.wants(event)]
        due = [one for one in wanting if one.should_get(event)]
        for one in due:
            findings.judged += 1
            _judge(log, event, one, findings)
        if not due:
            _judge_unheard(log, event, wanting, findings)
    return findings.verdict(
        "expected handling", "none is missing", "no event was published that anybody subscribed to"
    )


def _judge(log: EventLog, event: Published, one: Subscriber, findings: Findings) -> None:
    handlings = log.handlings(event, one)
    if handlings.done or (event.op.design, one.name, event.id) in log.dead:
        return
    if log.history.completion(event.op.index) is None and event.op.type == "invoke":
        findings.doubt(f"{event.title} was still being published at the end", event.op.index)
        return
    trace = [event.op.index, *(span.index for span in handlings.spans)]
    if handlings.is_open and not log.crashed_after(handlings.spans[-1].index, one):
        findings.doubt(f"{one.name!r} had not ended with {event.title} when the run did", *trace)
        return
    faults = log.faults_on(event, one.name)
    why = _why(log, event, one, faults)
    findings.breach(
        f"{event.title} was never handled by {one.name!r}{why}", *trace, *(op.index for op in faults)
    )


def _why(log: EventLog, event: Published, one: Subscriber, faults: list[Op]) -> str:
    for op in log.history.where(kind="drop", name=one.name):
        if op.data.get("event") == event.id:
            return ": its queue was full"
    if faults:
        kinds = dict.fromkeys(op.name for op in faults)
        return f": {', '.join(kinds)} struck it"
    return ": it crashed" if log.crashed_after(event.op.index, one) else ""


def _judge_unheard(log: EventLog, event: Published, wanting: list[Subscriber], findings: Findings) -> None:
    # A reader of a store that begins behind an event does so on purpose; the store still has it.
    later = (one for one in wanting if one.op.index > event.op.index and one.from_position is None)
    late = next(later, None)
    if late is not None:
        findings.judged += 1
        if not log.handlings(event, late).done:
            findings.breach(_too_early(event, late), event.op.index, late.op.index)


def _too_early(event: Published, late: Subscriber) -> str:
    when = apart(late.op.time_ns, event.op.time_ns)
    return f"{event.title} was published {when} before {late.name!r} subscribed, which never got it"


def subscribed_before_published(
    history: History, *, topic: str | None = None, subscriber: str | None = None
) -> Verdict:
    """No subscriber came too late: each has handled also what was published before it subscribed.

    It holds for a reader of a store that begins early enough, and where everybody subscribes before the first
    event. A subscriber that needs only what is new should be left out by ``subscriber`` (a name or glob).
    """
    findings = Findings("subscribed_before_published")
    log = EventLog(history, topic, subscriber)
    first: dict[tuple[str, str], Subscriber] = {}
    for one in log.subscribers:
        first.setdefault((one.op.design, one.name), one)
    for event in log.published:
        for one in first.values():
            if not one.wants(event):
                continue
            findings.judged += 1
            if one.op.index > event.op.index and not log.handlings(event, one).done:
                findings.breach(_too_early(event, one), event.op.index, one.op.index)
    return findings.verdict(
        "expected handling", "nobody came too late", "no event was published that anybody subscribed to"
    )


def converges(
    history: History, *, within_ns: int, topic: str | None = None, subscriber: str | None = None
) -> Verdict:
    """Each event is handled by all that should have it within a time after the last fault.

    The time counts from the publishing of an event or from the last fault that struck, whichever came later:
    while faults strike nothing is promised.
    """
    findings = Findings("converges")
    log = EventLog(history, topic, subscriber)
    within = format_duration(within_ns)
    for event in log.published:
        start_ns = max(event.op.time_ns, log.healed_ns)
        for one in log.subscribers:
            if not one.should_get(event):
                continue
            findings.judged += 1
            done = log.handlings(event, one).done
            first_ns = min((span.end_ns for span in done if span.end_ns is not None), default=None)
            if first_ns is not None and first_ns <= start_ns + within_ns:
                continue
            if first_ns is not None:
                took = apart(first_ns, start_ns)
                findings.breach(f"{one.name!r} handled {event.title} only after {took}", done[0].index)
            elif log.end_ns < start_ns + within_ns:
                findings.doubt(f"the run ended before {within} were over for {event.title}", event.op.index)
            else:
                findings.breach(f"{one.name!r} did not handle {event.title} within {within}", event.op.index)
    return findings.verdict(
        "expected handling", f"each came within {within}", "no event was published that anybody subscribed to"
    )


def no_dead_letters(history: History, *, topic: str | None = None, subscriber: str | None = None) -> Verdict:
    """No dead letter is left lying: each was delivered again with success, or handled by who looks after them.

    The first happens by ``redrive``, the second by a subscriber to the ``dead_letter_topic``.
    """
    findings = Findings("no_dead_letters")
    log = EventLog(history, topic, subscriber)
    findings.judged = len(log.published)
    events = {(event.op.design, event.id): event for event in log.published}
    names = {one.name for one in log.subscribers}
    for (design, name, number), op in log.dead.items():
        event = events.get((design, number))
        if event is None or name not in names or _is_looked_after(log, event, name, op):
            continue
        because = op.data.get("because", "")
        findings.breach(
            f"{event.title} is left as a dead letter of {name!r}: {because}", event.op.index, op.index
        )
    return findings.verdict("event", "none is left as a dead letter", "no event was published")


def _is_looked_after(log: EventLog, event: Published, name: str, dead: Op) -> bool:
    for subscriber, number, handlings in log.all_handlings():
        if (subscriber, number) == (name, event.id):
            if any(span.index > dead.index for span in handlings.done):
                return True
        elif any(_is_told_by(log, span.cause, dead) for span in handlings.done):
            return True
    return False


def _is_told_by(log: EventLog, published: int | None, dead: Op) -> bool:
    return published is not None and log.history[published].cause == dead.index
