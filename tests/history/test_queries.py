"""The questions a history answers."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import count

import pytest

from wfsim.errors import HistoryError
from wfsim.history import History, Recorder, Span


def checkout() -> History:
    """A saga that reserves, fails to charge, and releases; with an unrelated effect at its end."""
    clock = count(0, 10)
    recorder = Recorder(lambda: next(clock))
    saga = recorder.invoke("saga", "checkout", "checkout", "checkout-0")  # 0
    reserve = recorder.invoke("forward", "checkout", "reserve", "checkout-0", parent=saga)  # 1
    recorder.event("effect", "checkout", "reserved", "checkout-0", parent=reserve)  # 2
    recorder.complete("ok", reserve)  # 3
    charge = recorder.invoke("forward", "checkout", "charge", "checkout-0", parent=saga)  # 4
    fault = recorder.event("fault", "checkout", "fail", "checkout-0", parent=charge)  # 5
    failed = recorder.complete("fail", charge, cause=fault, data={"error": "ConnectionError"})  # 6
    release = recorder.invoke("compensate", "checkout", "reserve", "checkout-0", 1, saga, failed)  # 7
    recorder.complete("ok", release)  # 8
    recorder.complete("fail", saga, cause=failed)  # 9
    recorder.event("effect", "", "tick", "main")  # 10
    return recorder.history()


def indexes(ops: Sequence[object]) -> list[int]:
    return [op.index for op in ops]  # type: ignore[attr-defined]


def test_a_history_is_a_sequence() -> None:
    """Length, index, negative index, slice, iteration and membership work as on a tuple."""
    history = checkout()
    assert len(history) == 11
    assert history[-1].name == "tick"
    assert indexes(history[2:4]) == [2, 3]
    assert indexes(list(history)) == list(range(11))
    assert indexes(list(reversed(history))) == list(reversed(range(11)))
    assert history[3] in history
    with pytest.raises(IndexError):
        history[11]


def test_where_joins_its_filters() -> None:
    """Operations must meet every filter; a filter left out filters nothing."""
    history = checkout()
    assert indexes(history.where(kind="forward")) == [1, 3, 4, 6]
    assert indexes(history.where(kind="forward", type="invoke")) == [1, 4]
    assert indexes(history.where(name="reserve", kind="compensate", type="ok")) == [8]
    assert indexes(history.where(process="main")) == [10]
    assert indexes(history.where(design="")) == [10]
    assert indexes(history.where(attempt=0)) == [2, 5, 10]
    assert len(history.where()) == 11


def test_where_can_ask_for_roots() -> None:
    """``parent=None`` asks for what has no parent."""
    history = checkout()
    assert indexes(history.where(parent=None)) == [0, 9, 10]
    assert indexes(history.where(parent=4)) == [5]


def test_completion_is_found_from_the_invoke() -> None:
    """An invoke leads to its completion, if there is one."""
    history = checkout()
    end = history.completion(4)
    assert end is not None
    assert end.index == 6
    assert history.completion(10) is None


def test_within_is_all_that_is_nested() -> None:
    """``within`` goes to any depth and holds neither the operation itself nor its completion."""
    history = checkout()
    assert indexes(history.within(0)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert indexes(history.within(4)) == [5]
    assert history.within(10) == ()


def test_children_are_one_level_down() -> None:
    """``children`` does not go deeper than one level."""
    assert indexes(checkout().children(0)) == [1, 3, 4, 6, 7, 8]


def test_lineage_leads_to_the_root_cause() -> None:
    """The compensation was caused by the failed charge, and that by the fault."""
    assert indexes(checkout().lineage(7)) == [7, 6, 5]


@pytest.mark.parametrize("index", [-1, 11])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    """A question about an operation that is not there is an error that says how many there are."""
    history = checkout()
    for ask in (history.completion, history.within, history.children, history.lineage):
        with pytest.raises(HistoryError, match="it has 11"):
            ask(index)


def test_spans_pair_beginning_and_end() -> None:
    """A span has the times of both halves, the outcome, and the data of both."""
    saga, reserve, charge, release = checkout().spans()
    assert (saga.start_ns, saga.end_ns, saga.duration_ns, saga.outcome) == (0, 90, 90, "fail")
    assert (reserve.name, reserve.parent, reserve.outcome) == ("reserve", 0, "ok")
    assert (charge.outcome, charge.result) == ("fail", {"error": "ConnectionError"})
    assert (release.kind, release.cause, release.completion) == ("compensate", 6, 8)


def test_a_span_that_never_ended_stays_open() -> None:
    """What a crash cut off has no end, no outcome and no duration."""
    recorder = Recorder(lambda: 5)
    recorder.invoke("task", "etl", "load", "main")
    (span,) = recorder.history().spans()
    assert span == Span(0, "task", "etl", "load", "main", 1, None, None, 5, None, None, None, {}, {})
    assert span.duration_ns is None


def test_histories_are_equal_if_their_bytes_are() -> None:
    """Equal histories have one fingerprint and one hash; one operation more makes another history."""
    one, other = checkout(), checkout()
    assert one == other
    assert hash(one) == hash(other)
    assert one != History.from_jsonl("".join(one.to_jsonl().splitlines(keepends=True)[:-1]))
    assert one != "a history"


def test_a_history_survives_pickle() -> None:
    """A history comes back from a worker process as it was."""
    history = checkout()
    assert pickle.loads(pickle.dumps(history)) == history
