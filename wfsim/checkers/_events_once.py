"""Whether events had their effect once, in order, and together with the state that they tell of."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from wfsim.checkers._events import EventLog
from wfsim.checkers._runs import end_of, times
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from wfsim.history import History, Op, Span


def no_effect_twice(history: History, *, name: str | None = None, subscriber: str | None = None) -> Verdict:
    """No event had an effect twice at one subscriber, however often it was delivered.

    It looks at the effects in the world: a handler may be called again as long as nothing happens again.
    ``name`` says which effects to judge, all if None.
    """
    findings = Findings("no_effect_twice")
    log = EventLog(history, subscriber=subscriber)
    for who, number, handlings in log.all_handlings():
        found: dict[tuple[str, str], dict[int, Op]] = {}
        for span in handlings.spans:
            for op in history.within(span.index):
                if op.kind == "effect" and name in {None, op.name}:
                    found.setdefault((op.name, repr(op.data.get("key"))), {})[span.index] = op
        for (effect, _), by_handling in found.items():
            findings.judged += 1
            if len(by_handling) > 1:
                ops = [op.index for op in by_handling.values()]
                findings.breach(
                    f"{effect!r} happened {times(len(ops))} at {who!r} for one event, {number}", *ops
                )
    wanted = f"effect {name!r}" if name else "effect"
    return findings.verdict("effect", "happened once for its event", f"no event had the {wanted}")


def handled_once(history: History, *, subscriber: str | None = None) -> Verdict:
    """No subscriber handled an event twice with success: what ``effectively_once`` promises."""
    findings = Findings("handled_once")
    for who, number, handlings in EventLog(history, subscriber=subscriber).all_handlings():
        findings.judged += bool(handlings.done)
        if len(handlings.done) > 1:
            ops = [span.index for span in handlings.done]
            findings.breach(f"{who!r} handled {number} {times(len(ops))}", *ops)
    return findings.verdict("event", "was handled once by each subscriber", "no event was handled")


def order_per_key(history: History, *, topic: str | None = None, subscriber: str | None = None) -> Verdict:
    """Each subscriber handled the events of one key in the order of their publishing, one after the other.

    What counts is the handling of an event that was the first to end with success.
    """
    findings = Findings("order_per_key")
    log = EventLog(history, topic, subscriber)
    for one in log.subscribers:
        lines: dict[str, list[tuple[str, Span]]] = {}
        for event in log.published:
            done = log.handlings(event, one).done if one.wants(event) and event.key is not None else []
            if done:
                handled = min(done, key=end_of)
                lines.setdefault(repr(event.key), []).append((event.title, handled))
        for key, line in lines.items():
            findings.judged += len(line) > 1
            for (first, earlier), (second, later) in pairwise(line):
                if later.index < end_of(earlier):
                    how = "before" if later.index < earlier.index else "before it had ended with"
                    findings.breach(
                        f"{one.name!r} handled {second} {how} {first}, both of key {key}",
                        later.index,
                        earlier.index,
                    )
    return findings.verdict(
        "key", "its events were handled in order", "no subscriber handled two events of one key"
    )


def state_and_events_agree(history: History, *, effect: str, topic: str) -> Verdict:
    """Each change of state is told by an event, and each event tells of a change that happened.

    The change is the effect of that name, the event the one of that topic; their keys say which belong
    together.
    """
    findings = Findings("state_and_events_agree")
    log = EventLog(history, topic)
    told = {repr(event.key): event for event in log.published}
    done: dict[str, Op] = {}
    for op in history.where(kind="effect", name=effect):
        done.setdefault(repr(op.data.get("key")), op)
    for key, op in done.items():
        findings.judged += 1
        if key not in told:
            findings.breach(f"{effect!r} of {key} happened, but no {topic} tells of it", op.index)
    for key, event in told.items():
        if key not in done:
            findings.breach(f"{event.title} tells of {key}, but {effect!r} never happened", event.op.index)
    return findings.verdict("change", "is told by an event", f"no effect {effect!r} and no {topic} happened")
