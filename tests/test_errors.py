"""The errors: their families, their messages, and that they survive a trip between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

import wfsim
from wfsim import errors
from wfsim.errors import (
    CompensationStuck,
    CycleError,
    DesignError,
    DurationError,
    InjectedFault,
    ReplyLost,
    RetriesExhausted,
    ScenarioError,
    WfsimError,
)

VALUES: dict[str, object] = {
    "str": "a",
    "int": 3,
    "tuple[str, ...]": ("a", "b"),
    "BaseException": ConnectionError("down"),
}
"""What to give for an argument of an error's constructor, by its annotation."""


def sample(kind: type[WfsimError]) -> WfsimError:
    """Make an error of a kind, each argument of its constructor given."""
    if "__init__" not in vars(kind):
        return kind("what went wrong")
    parameters = list(inspect.signature(kind).parameters.values())
    return kind(*(VALUES[str(parameter.annotation).partition(" |")[0]] for parameter in parameters))


SAMPLES: list[WfsimError] = [
    ScenarioError("unknown field", "a.yaml", 3, 5, "faults[0].kid", ("kind", "step"), "kind"),
    *(sample(getattr(errors, name)) for name in errors.__all__),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle(error: WfsimError) -> None:
    """An error comes back from another process with its type, message and attributes."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__.keys() == error.__dict__.keys()


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_can_be_rebuilt_from_its_args(error: WfsimError) -> None:
    """``type(e)(*e.args)`` gives an equal error; SimPy rebuilds exceptions that way."""
    again = type(error)(*error.args)
    assert str(again) == str(error)
    assert again.__dict__.keys() == error.__dict__.keys()


def test_every_error_is_a_wfsim_error() -> None:
    """One ``except WfsimError`` catches whatever wfsim raises on purpose."""
    assert all(issubclass(getattr(errors, name), WfsimError) for name in errors.__all__)


def test_errors_are_also_what_python_calls_them() -> None:
    """Code that knows no wfsim catches a wrong design as ValueError, a lost reply as TimeoutError."""
    assert issubclass(DesignError, ValueError)
    assert issubclass(DurationError, ValueError)
    assert issubclass(ReplyLost, TimeoutError)
    assert issubclass(ReplyLost, InjectedFault)


def test_a_cycle_names_its_own_path() -> None:
    """The message shows the cycle's path, from a name back to itself."""
    error = CycleError(("pay", "ship", "pay"))
    assert error.cycle == ("pay", "ship", "pay")
    assert "pay -> ship -> pay" in str(error)


def test_retries_exhausted_says_how_often_and_why() -> None:
    """The message has the step, the number of attempts and the last error."""
    assert str(RetriesExhausted(3, ConnectionError("down"), "charge")) == (
        "charge failed 3 times; the last error was ConnectionError: down"
    )
    assert str(RetriesExhausted(1, KeyError())) == "the call failed once; the last error was KeyError"


def test_compensation_stuck_says_what_is_left_undone() -> None:
    """The message names the saga, the steps whose effects are left, and the error behind it."""
    error = CompensationStuck(("charge",), TimeoutError("late"), "checkout")
    assert error.undone == ("charge",)
    assert str(error) == (
        "saga 'checkout' is stuck: could not compensate charge (TimeoutError: late); undo by hand"
    )


def test_a_scenario_error_is_one_message() -> None:
    """All that is known stands in one line: place, field, problem, what is allowed, the suggestion."""
    error = ScenarioError("unknown field", "a.yaml", 3, 5, "faults[0].kid", ("kind", "step"), "kind")
    assert str(error) == (
        "a.yaml:3:5: faults[0].kid: unknown field; allowed: kind, step; did you mean 'kind'?"
    )
    assert str(ScenarioError("the file is empty", "a.yaml")) == "a.yaml: the file is empty"
    assert str(ScenarioError("a tab", line=7)) == "line:7: a tab"
    assert str(ScenarioError("no design")) == "no design"


@pytest.mark.parametrize(
    ("build", "part"),
    [
        (lambda: wfsim.Retry(delay=-1), "Retry: delay"),
        (lambda: wfsim.Retry(max_delay="soon"), "Retry: max_delay"),
        (lambda: wfsim.Task("a", run=print, timeout=-1), "timeout of task 'a'"),
        (lambda: wfsim.Agent("ann", latency=-1), "latency of agent 'ann'"),
        (lambda: wfsim.Saga("order", timeout=-1), "timeout of saga 'order'"),
        (lambda: wfsim.LockTable("rooms").lock("1", timeout=-1), "timeout of a lock of 'rooms'"),
        (
            lambda: wfsim.StateMachine(initial="a").add_transition("a", "b", after=-1),
            "after of transition 'a -> b'",
        ),
        (lambda: wfsim.EventBus("shop", latency=-1), "latency of bus 'shop'"),
        (lambda: wfsim.EventBus("shop", confirm_timeout=-1), "confirm_timeout of bus 'shop'"),
        (lambda: wfsim.EventBus(visibility_timeout="soon"), "visibility_timeout"),
        (lambda: wfsim.Service("billing", restart_after=-1), "restart_after of 'billing'"),
        (lambda: wfsim.delay("charge", -1), "delay"),
        (lambda: wfsim.crash("charge", restart_after=-1), "restart_after of a crash"),
        (lambda: wfsim.fail("charge", after=-1), "after of a fault"),
        (lambda: wfsim.simulate(print, max_time=-1), "max_time"),
    ],
)
def test_a_wrong_duration_is_told_with_what_it_was_of(build, part) -> None:
    """Whoever sets ten durations is told which one is wrong, and what would be right."""
    with pytest.raises(DesignError) as caught:
        build()
    assert str(caught.value).startswith(f"{part}: ")
    assert "must be 0 or longer" in str(caught.value) or "write it as" in str(caught.value)


def test_a_fault_alone_is_told_to_be_a_list() -> None:
    """faults=fail("charge") is answered with how it is written."""
    with pytest.raises(DesignError, match=r"faults=\[fail\('charge'\)\]"):
        wfsim.simulate(print, faults=wfsim.fail("charge"))
