"""Whether state machines do as they are drawn, get where they should, and lose nothing on the way."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from wfsim.checkers._evidence import Evidence
from wfsim.checkers._runs import times
from wfsim.checkers._statemachine_lives import Life, listed, lives
from wfsim.checkers._verdict import Findings, Verdict
from wfsim.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wfsim.history import History, Op, Span

_NOTHING = "no state machine ran"


def transitions_legal(history: History, *, design: str | None = None) -> Verdict:
    """Each machine only made transitions that it has, each from where it was.

    It finds a machine that goes on from another state than the one it was in (as after a crash, with what
    it remembered out of date), a transition that the machine was not drawn with, and one that was taken
    from a state that it does not leave. A crash may strike when a transition is kept in the journal and not yet
    told: a machine that is resumed may be one transition of its own further than it had said.
    """
    findings = Findings("transitions_legal")
    for life in lives(history, design):
        before: list[str] = []
        for op in life.of("transition", "resume"):
            if op.kind == "resume":
                found = list(op.data.get("in", ()))
                before = found if _single_steps(life, before, found) else before
                continue
            findings.judged += bool(op.data.get("taken"))
            _judge_step(life, op, before, findings)
            before = list(op.data.get("to", ()))
    return findings.verdict("transition", "as the machine is drawn", f"{_NOTHING} that made a transition")


def _judge_step(life: Life, op: Op, before: Sequence[str], findings: Findings) -> None:
    here = list(op.data.get("from", ()))
    if before and here != before:
        findings.breach(
            f"{life.title} went on from {listed(here)}, though it was in {listed(before)}",
            life.start,
            op.index,
        )
        return
    around, after = life.around(here), life.around(op.data.get("to", ()))
    for name in op.data.get("taken", ()):
        drawn = (life.definition.get("transitions") or {}).get(name)
        if drawn is None:
            findings.breach(f"{life.title} made a transition that it has not: {name!r}", op.index)
        elif drawn["from"] not in around and drawn["from"] != "*":
            findings.breach(f"{life.title} took {name!r} while it was in {listed(here)}", op.index)
        elif not _arrived(life, drawn, after):
            findings.breach(
                f"{life.title} took {name!r} and ended up in {listed(op.data.get('to', ()))}", op.index
            )


def _single_steps(life: Life, before: Sequence[str], after: Sequence[str]) -> list[dict[str, Any]]:
    """Give the machine's transitions that lead from some states to others."""
    left, entered = life.around(before), life.around(after)
    return [
        drawn
        for drawn in (life.definition.get("transitions") or {}).values()
        if (drawn["from"] in left or drawn["from"] == "*") and _arrived(life, drawn, entered)
    ]


def _arrived(life: Life, drawn: dict[str, Any], after: dict[str, None]) -> bool:
    """Tell whether all targets are active; a history state stands for something inside its parent."""
    known = life.definition.get("states") or {}
    targets = [known.get(name) or {} for name in drawn.get("to", ())]
    names = [
        state.get("parent") if state.get("history") else name
        for name, state in zip(drawn.get("to", ()), targets, strict=True)
    ]
    return all(name in after for name in names)


def ends_in(history: History, *, state: str | list[str], design: str | None = None) -> Verdict:
    """Each machine was in this state (or in one of these) when the run ended."""
    findings = Findings("ends_in")
    wanted = [state] if isinstance(state, str) else list(state)
    for life in lives(history, design):
        made = life.of("transition")
        findings.judged += not life.replaced
        if not life.replaced and not any(name in life.around(life.states) for name in wanted):
            last = made[-1].index if made else life.start
            findings.breach(f"{life.title} ended in {listed(life.states)}{_since(history, life)}", last)
    return findings.verdict("state machine", f"ended in {' or '.join(map(repr, wanted))}", _NOTHING)


def _since(history: History, life: Life) -> str:
    crashed = _crash_of(history, life)
    if crashed is not None:
        return f", cut off when process {crashed.process!r} crashed"
    failed = [op for op in life.ops if op.kind == "machine" and op.invoke is not None and op.type != "ok"]
    return f"; it failed with {failed[-1].data.get('message')}" if failed else ""


def _crash_of(history: History, life: Life) -> Op | None:
    """Find the crash after which the machine did nothing any more."""
    last = life.ops[-1].index
    crashes = [
        op for op in history.where(kind="process") if op.name == "crash" and op.process in life.processes
    ]
    return next((op for op in reversed(crashes) if op.index > last), None)


def reaches_final(history: History, *, design: str | None = None) -> Verdict:
    """Each machine came to its end: a final state of the top level. It finds machines that got stuck."""
    findings = Findings("reaches_final")
    for life in lives(history, design):
        findings.judged += not life.replaced
        if not life.replaced and not _is_done(life):
            made = life.of("transition")
            last = made[-1] if made else life.ops[0]
            waits = format_duration(history[len(history) - 1].time_ns - last.time_ns, decimals=1)
            where = f"is stuck in {listed(life.states)}, {waits} after its last step"
            findings.breach(f"{life.title} {where}{_since(history, life)}", last.index)
    return findings.verdict("state machine", "reached a final state", _NOTHING)


def _is_done(life: Life) -> bool:
    return bool(life.of("done")) or any(op.data.get("done") for op in life.of("resume"))


def never_in(history: History, *, state: str | list[str], design: str | None = None) -> Verdict:
    """No machine was ever in this state; with several states, never in all of them at once."""
    findings = Findings("never_in")
    wanted = [state] if isinstance(state, str) else list(state)
    found = lives(history, design)
    if strangers := _strangers(found, wanted):
        return Verdict("never_in", "unknown", strangers)
    for life in found:
        for op in life.of("transition"):
            findings.judged += 1
            if all(name in life.around(op.data.get("to", ())) for name in wanted):
                findings.breach(f"{life.title} was in {listed(wanted)}", op.index)
                break
    return findings.verdict("step", f"none of them into {listed(wanted)}", _NOTHING)


def stays_at_most(history: History, *, state: str, duration_ns: int, design: str | None = None) -> Verdict:
    """No machine stayed in this state for longer than this: its timeout works, also across a crash."""
    findings = Findings("stays_at_most")
    end = history[len(history) - 1] if len(history) else None
    found = lives(history, design)
    if strangers := _strangers(found, [state]):
        return Verdict("stays_at_most", "unknown", strangers)
    for life in found:
        for since, until in _stays(life, state):
            findings.judged += 1
            left = until or end
            stay = (left.time_ns if left else 0) - since.time_ns
            if stay > duration_ns:
                how = "stayed" if until else "has been"
                took = format_duration(stay, decimals=1)
                findings.breach(
                    f"{life.title} {how} in {state!r} for {took}, longer than {format_duration(duration_ns)}",
                    since.index,
                    until.index if until else None,
                )
    return findings.verdict("stay", f"in {state!r} short enough", f"no machine was ever in {state!r}")


def _strangers(found: Sequence[Life], wanted: Sequence[str]) -> str:
    """Say which of these are states of none of the machines: of what cannot be, nothing is to be judged."""
    if not found or not all(life.definition.get("states") for life in found):
        return ""
    known = list(dict.fromkeys(name for life in found for name in life.definition["states"]))
    strange = [name for name in wanted if name not in known]
    if not strange:
        return ""
    close = get_close_matches(strange[0], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the states are {', '.join(known)}"
    return f"no state machine has the state {listed(strange[:1])}; {hint}"


def _stays(life: Life, state: str) -> Iterator[tuple[Op, Op | None]]:
    since: Op | None = None
    for op in life.of("transition"):
        inside = state in life.around(op.data.get("to", ()))
        if inside and since is None:
            since = op
        elif not inside and since is not None:
            yield since, op
            since = None
    if since is not None:
        yield since, None


def no_event_dropped(history: History, *, event: str | None = None, design: str | None = None) -> Verdict:
    """Every event that was handed to a machine led to a transition.

    It finds events that came when no transition answered them (too early, too late, or twice), and those
    that were lost in a crash. ``event`` names those to judge, all if None.
    """
    findings = Findings("no_event_dropped")
    for life in lives(history, design):
        made = life.of("transition")
        answered = {op.cause for op in made}
        dropped = {op.cause: op for op in life.of("drop")}
        again = [op for op in made if op.cause in {one.index for one in life.of("resume")}]
        repeats = [op for op in life.of("trigger") if op.data.get("again")]
        for op in life.of("trigger"):
            if event is not None and op.name != event:
                continue
            findings.judged += 1
            drop = dropped.get(op.index)
            if drop is not None:
                where = listed(drop.data.get("in", ()))
                findings.breach(f"{life.title} was in {where}, where nothing answers {op.name!r}", drop.index)
            elif op.index not in answered and not (
                _answered_later(op, again, history) or _came_again(op, repeats)
            ):
                _judge_lost(history, life, op, findings)
    return findings.verdict("event", "answered", "no event was handed to a state machine")


def _answered_later(trigger: Op, again: list[Op], history: History) -> bool:
    """Tell whether a machine that went on after a crash made up for the event; each step does so once."""
    step = next((op for op in again if op.data.get("on") == trigger.name and op.index > trigger.index), None)
    if step is None:
        failed = [op for op in history.where(kind="raise") if trigger in history.lineage(op.index)]
        return bool(failed)  # its action failed, and the machine answered that
    again.remove(step)
    return True


def _came_again(trigger: Op, repeats: list[Op]) -> bool:
    """Tell whether who had sent an event sent it once more after a crash; that one is judged for itself."""
    repeat = next((op for op in repeats if op.name == trigger.name and op.index > trigger.index), None)
    if repeat is not None:
        repeats.remove(repeat)
    return repeat is not None


def _judge_lost(history: History, life: Life, trigger: Op, findings: Findings) -> None:
    crashes = history.where(kind="process", name="crash", process=trigger.process)
    crash = next((op for op in crashes if op.index > trigger.index), None)
    failed = next((op for op in life.ops if op.type == "fail" and trigger in history.lineage(op.index)), None)
    what = f"{life.title}: the event {trigger.name!r}"
    if crash is not None:
        findings.breach(
            f"{what} was lost when process {trigger.process!r} crashed", trigger.index, crash.index
        )
    elif failed is not None:
        findings.breach(
            f"{what} came to nothing, because {failed.name!r} failed", trigger.index, failed.index
        )
    else:
        findings.doubt(f"{what} was still on its way when the run ended", trigger.index)


def action_exactly_once(history: History, *, action: str | None = None, design: str | None = None) -> Verdict:
    """Each transition that was made had its actions done, once; one that was given up left nothing behind.

    It finds an action that a machine repeated after a crash or a lost reply, one that it forgot, and one that
    did its work for a transition that was then not made. What counts is whether the work was done, not what
    the machine knew: where effects are recorded, a repeated call without one, for its key was known, does not
    count. ``action`` names the one to judge, all if None.
    """
    findings = Findings("action_exactly_once")
    evidence = Evidence(history)
    spans = {span.index: span for span in history.spans() if span.kind == "action"}
    for life in lives(history, design):
        memories = [
            name for name, state in (life.definition.get("states") or {}).items() if state.get("history")
        ]
        calls = [spans[op.index] for op in life.of("action") if action in {None, op.name}]
        calls = [call for call in calls if str(call.data.get("of")).partition(" -> ")[0] not in memories]
        done: dict[tuple[str, str], dict[str, list[Span]]] = {}
        for call in calls:
            place = done.setdefault((str(call.data.get("of")), call.name), {})
            place.setdefault(str(call.data.get("id")), []).append(call)
        _judge_repeated(life, done, evidence, findings)
        _judge_balance(life, done, evidence, findings, action)
    return findings.verdict("action", "done exactly once", "no transition with an action was made")


def _judge_repeated(
    life: Life,
    done: dict[tuple[str, str], dict[str, list[Span]]],
    evidence: Evidence,
    findings: Findings,
) -> None:
    for (_, name), by_id in done.items():
        for calls in by_id.values():
            happened = [call for call in calls if evidence.happened(call)]
            # Where effects are recorded, a call that the world did not feel (its key was known) is none.
            did = [call for call in happened if evidence.felt(call)] or happened
            findings.judged += bool(did)
            if len(did) > 1:
                why = _why_again(did[0])
                findings.breach(
                    f"{life.title}: {name!r} was done {times(len(did))} for one transition{why}",
                    *(call.index for call in did),
                )


def _why_again(first: Span) -> str:
    if first.outcome is None:
        return "; the process crashed after the first"
    return "" if first.outcome == "ok" else "; the reply of the first was lost"


def _judge_balance(
    life: Life,
    done: dict[tuple[str, str], dict[str, list[Span]]],
    evidence: Evidence,
    findings: Findings,
    action: str | None,
) -> None:
    """Compare how often each action was done with how often its transitions were made."""
    made: dict[tuple[str, str], list[Op]] = {}
    drawn = life.definition.get("transitions") or {}
    for op in life.of("transition"):
        for name in op.data.get("taken", ()):
            for one in (drawn.get(name) or {}).get("actions", ()):
                if action in {None, one}:
                    made.setdefault((_ends(drawn[name]), one), []).append(op)
    untold = _untold(life)
    for place in dict.fromkeys([*made, *done]):
        by_id = done.get(place, {})
        did = [calls for calls in by_id.values() if any(map(evidence.happened, calls))]
        unknown = [calls for calls in by_id.values() if any(map(evidence.open, calls))]
        steps = made.get(place, [])
        where, name = place
        if len(did) > len(steps) + untold.get(place, 0):
            left = did[len(steps) :]
            findings.breach(
                f"{life.title}: {name!r} was done, but the transition {where!r} was not made",
                *(calls[-1].index for calls in left),
            )
        elif len(did) < len(steps):
            judge = findings.doubt if unknown else findings.breach
            word = "may not have been done" if unknown else "was never done"
            judge(f"{life.title}: the transition {where!r} was made, but {name!r} {word}", steps[-1].index)


def _untold(life: Life) -> dict[tuple[str, str], int]:
    """Count, for each action, the transitions that a crash kept from being told: the journal had them already.

    Where several lead to where the machine went on, each of them may have been the one.
    """
    found: dict[tuple[str, str], int] = {}
    before: list[str] = []
    for op in life.of("transition", "resume"):
        after = list(op.data.get("in" if op.kind == "resume" else "to", ()))
        if op.kind == "resume" and after != before:
            for drawn in _single_steps(life, before, after):
                for action in drawn.get("actions", ()):
                    place = (_ends(drawn), action)
                    found[place] = found.get(place, 0) + 1
        before = after
    return found


def _ends(drawn: dict[str, Any]) -> str:
    """Name a transition as its actions do: by its ends."""
    targets = drawn.get("to", ())
    return f"{drawn['from']} -> {', '.join(targets)}" if targets else f"{drawn['from']} (stays)"
