"""The timeline says what happened, in the design's words, one aligned line a moment."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.checkers import Verdict
from wfsim.history import History, Recorder
from wfsim.report import timeline
from wfsim.report._story import tell

DOWN = {"error": "ConnectionError", "message": "bank is down"}


def page(text: str) -> str:
    """Take the indentation of a page in a test away; a bar marks its left margin."""
    lines = dedent(text).strip("\n").splitlines()
    return "".join(f"{line[1:]}\n" for line in lines)


def outage(script) -> tuple[History, int]:
    """Write a saga that fails at its second step; also give the index of the compensation."""
    saga = script.start("saga", "shop")
    script.call("reserve", saga, took_ms=30)
    script.call("charge", saga, type="fail", took_ms=500, fault="fail", **DOWN)
    script.fact("retry", "charge", parent=saga, attempt=1, delay_ns=200_000_000)
    script.now_ns += 200_000_000
    script.call("charge", saga, type="fail", took_ms=500, attempt=2, fault="fail", **DOWN)
    script.fact("retry", "charge", parent=saga, attempt=2, gave_up="attempts")
    script.fact("effect", "stock released", parent=saga, key="order-1", amount=2)
    back = script.call("reserve", saga, kind="compensate", took_ms=30)
    script.end(saga, "fail", **DOWN)
    return script.history(), back


def test_the_story_of_an_outage_reads_from_top_to_bottom(script) -> None:
    """Each moment is one line: when, how long it took, what; faults are marked, steps indented."""
    history, _ = outage(script)
    assert timeline(history) == page(
        """
        |     time   took  shop-1
        |   0.000s         shop starts
        |   0.030s   30ms    reserve ok
        |↯  0.530s  500ms    charge failed: ConnectionError: bank is down (injected)
        |   0.530s           waits 200ms, then tries charge again
        |↯  1.230s  500ms    charge, attempt 2, failed: ConnectionError: bank is down (injected)
        |   1.230s           gives up on charge after trying 2 times
        |   1.230s           effect: stock released (order-1, amount=2)
        |   1.260s   30ms    compensate reserve ok
        |   1.260s  1.26s  shop failed: ConnectionError: bank is down
        """
    )


def test_what_a_checker_objects_to_is_marked_with_its_name(script) -> None:
    """A reader finds the break at once: a mark in the margin and the checker's name on the line."""
    history, back = outage(script)
    text = timeline(history, [Verdict("compensated_in_reverse", False, "wrong order", (back,))])
    marked = [line for line in text.splitlines() if line.startswith("✗")]
    assert marked == ["✗  1.260s   30ms    compensate reserve ok  ←compensated_in_reverse"]


@pytest.mark.parametrize("valid", [True, "unknown"])
def test_a_checker_that_is_content_marks_nothing(script, valid) -> None:
    """Only a violation is marked: operations that a content checker names are not."""
    history, back = outage(script)
    assert "✗" not in timeline(history, [Verdict("compensated_in_reverse", valid, "fine", (back,))])


def test_a_verdict_on_an_invoke_marks_the_line_where_it_ended(script) -> None:
    """A checker may name either half of a call: both are one line."""
    history, back = outage(script)
    verdict = Verdict("late", False, "too late", (history[back].invoke, back))
    assert timeline(history, [verdict]).count("←late\n") == 1


def test_several_processes_get_a_column_of_their_own(script) -> None:
    """Who did it is said on each line as soon as more than one process acts."""
    script.call("pack", process="worker-1")
    script.call("pack", process="worker-2")
    assert timeline(script.history()) == page(
        """
        |    time  took  process   what happened
        |  0.010s  10ms  worker-1  pack ok
        |  0.020s  10ms  worker-2  pack ok
        """
    )


def test_a_crash_is_one_line_and_says_that_it_was_injected(script) -> None:
    """The fault and the crash that it caused are one moment; the call that it cut off shows as started."""
    call = script.start("forward", "charge")
    script.now_ns += 1_000_000_000
    script.strike(call, "crash")
    script.fact("process", "crash", restart_after_ns=2_000_000_000, incarnation=1)
    script.now_ns += 2_000_000_000
    script.fact("process", "restart", incarnation=2)
    assert timeline(script.history()) == page(
        """
        |   time  shop-1
        |↯    0s  charge starts
        |↯    1s  process shop-1 crashes at charge (injected), restarts in 2s
        |     3s  process shop-1 restarts
        """
    )


def test_a_hang_never_ends(script) -> None:
    """A call without an end is told where it began."""
    call = script.start("task", "fetch")
    script.strike(call, "hang")
    assert timeline(script.history()).endswith("fetch starts and hangs (injected)\n")


def test_a_lost_reply_tells_that_the_effect_happened(script) -> None:
    """The reader knows more than the caller did: it took effect."""
    call = script.start("forward", "charge")
    script.strike(call, "lose_reply")
    script.end(call, "info", 40, error="wfsim.errors.ReplyLost", message="lost", effect="happened")
    assert "charge took effect, but its reply is lost (injected)" in timeline(script.history())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("TimeoutError", "timed out, outcome unknown"),
        ("asyncio.exceptions.CancelledError", "cancelled, outcome unknown"),
    ],
)
def test_an_unknown_outcome_is_called_so(script, error, words) -> None:
    """After a timeout or a cancellation no one knows: the line does not pretend."""
    script.call("charge", type="info", error=error, message="", effect="unknown")
    assert f"charge {words}\n" in timeline(script.history())


def test_forty_failed_attempts_are_told_as_the_first_and_the_last(script) -> None:
    """What repeats is told once, with the number of repetitions and the time they took."""
    saga = script.start("saga", "shop")
    for attempt in range(1, 41):
        script.call("charge", saga, type="fail", took_ms=100, attempt=attempt, **DOWN)
        script.fact("retry", "charge", parent=saga, attempt=attempt, delay_ns=900_000_000)
        script.now_ns += 900_000_000
    assert timeline(script.history()) == page(
        """
        |     time   took  shop-1
        |   0.000s         shop starts
        |   0.100s  100ms    charge failed: ConnectionError: bank is down
        |   0.100s           waits 900ms, then tries charge again
        |   1.100s    37s    … the same 38 more times
        |  39.100s  100ms    charge, attempt 40, failed: ConnectionError: bank is down
        |  39.100s           waits 900ms, then tries charge again
        """
    )


def test_of_many_runs_the_telling_ones_are_shown_and_the_others_counted(script) -> None:
    """Of a hundred checkouts the failed one is told, and one that went well; the rest is a number."""
    for number in range(100):
        saga = script.start("saga", "shop", f"shop-{number}")
        script.call("reserve", saga, process=f"shop-{number}")
        failed = number == 70
        script.call("charge", saga, process=f"shop-{number}", **({"type": "fail", **DOWN} if failed else {}))
        script.end(saga, "fail" if failed else "ok")
    text = timeline(script.history())
    assert "shop-70  shop failed" in text
    assert "98 more not shown: 98 ok\n" in text
    assert len(text.splitlines()) == 1 + 4 + 1 + 4 + 1


def test_a_long_story_keeps_its_break_and_both_ends(script) -> None:
    """Cutting never cuts what matters: what is marked stays, and each gap says how much it hides."""
    saga = script.start("saga", "shop")
    middle = [script.call(f"step {'abcdefghij'[n % 10]}{'xyz'[n % 3]}{n}", saga) for n in range(200)][100]
    script.end(saga)
    text = timeline(script.history(), [Verdict("order", False, "wrong", (middle,))], lines=20)
    assert "✗  " in text
    assert "shop starts" in text
    assert "shop ok" in text
    assert text.count("more lines") == 2


def test_a_run_that_recorded_nothing_says_so() -> None:
    """An empty page would look like a defect."""
    assert timeline(History()) == "nothing was recorded: the run passed no design, effect or fault point\n"


def test_control_characters_of_a_users_text_do_not_reach_the_terminal(script) -> None:
    """An error message cannot recolour or clear the reader's screen, nor break the line."""
    script.call("charge", type="fail", error="ValueError", message="\x1b[2Jgone\r\nand [red]more[/red]")
    line = timeline(script.history()).splitlines()[1]
    assert line.endswith("charge failed: ValueError: ?[2Jgone and [red]more[/red]")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_page(script, width) -> None:
    """Long sentences wrap inside their column, with their indentation."""
    saga = script.start("saga", "shop")
    script.call("charge", saga, type="fail", error="ValueError", message="a long story " * 10)
    text = timeline(script.history(), width=width)
    assert max(map(len, text.splitlines())) <= width


@given(
    st.lists(
        st.tuples(st.sampled_from(["start", "end", "fact"]), st.integers(0, 5), st.integers(0, 10**13)),
        max_size=60,
    )
)
def test_every_operation_of_any_history_is_told_in_order(steps) -> None:
    """Whatever a history holds, its timeline has no gap, no crash, and its times never go back."""
    now = [0]
    recorder = Recorder(lambda: now[0])
    begun: list[int] = []
    for what, which, after_ns in steps:
        now[0] += after_ns
        parent = begun[which % len(begun)] if begun else None
        if what == "start":
            begun.append(recorder.invoke("forward", "d", f"s{which}", f"p{which}", 1, parent))
        elif what == "end" and begun:
            recorder.complete("ok", begun.pop(which % len(begun)))
        else:
            recorder.event("note", "d", f"n{which}", f"p{which}", parent=parent)
    told = tell(recorder.history())
    assert [line.index for line in told] == sorted(line.index for line in told)
    told_halves = sum(2 if line.took_ns is not None else 1 for line in told)
    assert told_halves >= len(recorder.history()) - sum(op.type == "invoke" for op in recorder.history())
    assert timeline(recorder.history())
