"""The recorder: what it writes down, and that what it wrote stays."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wfsim.history import Op, Recorder


class Clock:
    """A clock to set by hand."""

    ns = 0

    def __call__(self) -> int:
        return self.ns


def test_an_operation_is_an_invoke_and_its_completion() -> None:
    """A completion says how the invoke ended, and when, and is otherwise like it."""
    clock = Clock()
    recorder = Recorder(clock)
    invoke = recorder.invoke("forward", "checkout", "charge", "checkout-0", 2, data={"amount": 5})
    clock.ns = 250
    end = recorder.complete("ok", invoke, data={"value": "paid"})
    history = recorder.history()
    assert (invoke, end) == (0, 1)
    assert history[0] == Op(
        0, 0, "invoke", "forward", "checkout", "charge", "checkout-0", 2, None, None, None, {"amount": 5}
    )
    assert history[1] == Op(
        1, 250, "ok", "forward", "checkout", "charge", "checkout-0", 2, None, None, 0, {"value": "paid"}
    )


def test_a_completion_keeps_the_parent_but_not_the_cause() -> None:
    """The parent is the same for both halves; what caused the end is not what caused the beginning."""
    recorder = Recorder(Clock())
    saga = recorder.invoke("saga", "checkout", "checkout", "main")
    fault = recorder.event("fault", "checkout", "fail", "main", parent=saga)
    step = recorder.invoke("forward", "checkout", "charge", "main", parent=saga, cause=saga)
    end = recorder.complete("fail", step, cause=fault, data={"error": "ConnectionError"})
    op = recorder.history()[end]
    assert (op.parent, op.cause, op.invoke) == (saga, fault, step)


def test_an_event_is_a_bare_fact() -> None:
    """An event is of type info, completes nothing and is no attempt."""
    recorder = Recorder(Clock())
    recorder.event("effect", "", "charged", "main", data={"key": "order-1"})
    op = recorder.history()[0]
    assert (op.type, op.invoke, op.attempt, op.data) == ("info", None, 0, {"key": "order-1"})


def test_a_history_does_not_grow() -> None:
    """A history is what was recorded when it was taken."""
    recorder = Recorder(Clock())
    recorder.event("effect", "", "first", "main")
    history = recorder.history()
    recorder.event("effect", "", "second", "main")
    assert [op.name for op in history] == ["first"]
    assert len(recorder) == 2


def test_data_is_taken_as_it_was() -> None:
    """What happens to a value after it was recorded does not change the record."""
    recorder = Recorder(Clock())
    basket: dict[str, Any] = {"items": ["book"]}
    recorder.event("effect", "", "ordered", "main", data=basket)
    basket["items"].append("pen")
    basket["gift"] = True
    assert recorder.history()[0].data == {"items": ["book"]}


def test_an_operation_cannot_be_changed() -> None:
    """An operation is frozen."""
    recorder = Recorder(Clock())
    recorder.event("effect", "", "charged", "main")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recorder.history()[0].time_ns = 5  # type: ignore[misc]


def test_a_muted_recorder_keeps_what_it_has():
    """After mute nothing is added, whoever still writes, and operations that were open stay open."""
    recorder = Recorder(lambda: 0)
    invoke = recorder.invoke("step", "d", "s", "main")
    recorder.mute()
    late = recorder.invoke("step", "d", "late", "main")
    recorder.complete("ok", late)
    recorder.complete("ok", invoke)
    recorder.event("note", "d", "late", "main")
    assert [op.type for op in recorder.history()] == ["invoke"]
