"""The kinds of fault: what each does to the call it strikes."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.errors import DesignError, InjectedFault, ReplyLost
from wfsim.kernel import Simulation, effect, fault_point, perform, sleep, start_process, uniform
from wfsim.nemesis import Rules, crash, delay, fail, hang, lose_reply


async def charge():
    await sleep(1)
    effect("charge", key=1)
    return "paid"


def play(*faults, main=None, seed=0):
    simulation = Simulation(seed=seed, nemesis=Rules(faults))
    outcome = simulation.run(main or (lambda: perform("call", "shop", "charge", charge)))
    return outcome, simulation.recorder.history()


def effects(history):
    return len(history.where(kind="effect"))


def test_fail_raises_before_any_effect():
    """A failed call does nothing and takes no time."""
    outcome, history = play(fail("charge"))
    assert type(outcome.error) is InjectedFault
    assert str(outcome.error) == "injected into charge"
    assert effects(history) == 0
    assert outcome.duration_ns == 0


def test_the_history_tells_of_the_fault():
    """The fault stands in the history as data, before the failure that it caused."""
    _, history = play(fail("charge", error=ConnectionError("down")))
    (fault,) = history.where(kind="fault")
    assert fault.name == "fail"
    assert fault.data["error"] == "ConnectionError"
    (end,) = history.where(type="fail")
    assert end.cause == fault.index


def test_fail_raises_the_error_that_was_given():
    """An exception, a type, or what a function makes: that is raised."""

    class Declined(Exception):
        def __init__(self, *, code):
            super().__init__(f"declined: {code}")
            self.code = code

    assert str(play(fail(error=ConnectionError("down")))[0].error) == "down"
    assert type(play(fail(error=KeyError))[0].error) is KeyError
    outcome, _ = play(fail(error=lambda: Declined(code=7)))
    assert outcome.error.code == 7
    with pytest.raises(DesignError, match="cannot be copied; give a function that makes it"):
        fail(error=Declined(code=7))
    with pytest.raises(DesignError, match="Declined needs more than a message"):
        fail(error=Declined)


def test_each_strike_raises_a_new_error():
    """One rule strikes many times; no strike sees the notes or the traceback of another."""

    async def main():
        found = []
        for _ in range(2):
            try:
                await perform("call", "", "charge", charge)
            except ConnectionError as error:
                error.add_note("seen")
                found.append(error)
        return found

    original = ConnectionError("down")
    first, second = play(fail(error=original), main=main)[0].value
    assert first is not second
    assert second.__notes__ == ["seen"]
    assert not hasattr(original, "__notes__")


def test_delay_comes_before_the_call():
    """A delayed call begins later and then works."""
    outcome, history = play(delay("charge", "2s"))
    assert outcome.value == "paid"
    assert outcome.duration_ns == 3_000_000_000
    assert effects(history) == 1


def test_delay_draws_from_its_distribution():
    """A distribution is drawn from anew at each strike, and the same seed draws the same."""

    def lengths(seed):
        async def main():
            for _ in range(20):
                await perform("call", "", "charge", charge)

        _, history = play(delay("charge", uniform("1s", "2s")), main=main, seed=seed)
        return [span.end_ns - span.start_ns for span in history.spans()]

    assert all(2e9 <= one <= 3e9 for one in lengths(1))
    assert len(set(lengths(1))) == 20
    assert lengths(1) == lengths(1) != lengths(2)


def test_hang_waits_until_somebody_cancels():
    """A hanging call ends with its caller's timeout; without one, the run is a deadlock."""

    async def main():
        async with asyncio.timeout(60):
            await perform("call", "", "charge", charge)

    outcome, history = play(hang("charge"), main=main)
    assert isinstance(outcome.error, TimeoutError)
    assert outcome.duration_ns == 60_000_000_000
    assert effects(history) == 0
    hung = play(hang("charge"))[0]
    assert hung.name == "deadlock"
    assert "an injected fault to pass at 'charge'" in str(hung.waiting[0])
    assert "_hang.py" not in str(hung.waiting[0])


def test_lost_reply_leaves_the_effect_behind():
    """The call took effect and took its time; the caller gets a TimeoutError; the history knows better."""
    outcome, history = play(lose_reply("charge"))
    assert type(outcome.error) is ReplyLost
    assert isinstance(outcome.error, TimeoutError)
    assert effects(history) == 1
    assert outcome.duration_ns == 1_000_000_000
    (end,) = history.where(type="info", kind="call")
    assert end.data["effect"] == "happened"


def test_crash_ends_the_process_without_finally():
    """No code of a crashed process runs on."""
    ran = []

    async def main():
        try:
            await perform("call", "", "charge", charge)
        finally:
            ran.append("finally")

    outcome, _ = play(crash("charge"), main=main)
    assert outcome.name == "crashed"
    assert ran == []


def test_crashed_process_starts_again():
    """With restart_after the process's function runs anew, that much later."""
    starts = []

    async def worker():
        starts.append(asyncio.get_running_loop().time())
        return await perform("call", "", "charge", charge)

    async def main():
        return await start_process("worker", worker)

    outcome, history = play(crash("charge", process="worker", restart_after="5s", count=1), main=main)
    assert outcome.value == "paid"
    assert starts[1] - starts[0] == pytest.approx(5)
    assert [op.name for op in history.where(kind="process")] == ["crash", "restart"]


def test_crash_at_the_reply_comes_after_the_effect():
    """The classic hole: the effect is done, the process dies before it can note that."""
    outcome, history = play(crash("charge", point="reply"))
    assert outcome.name == "crashed"
    assert effects(history) == 1


def test_fault_points_of_the_users_own():
    """User code may declare a point by a name of its own; a rule that names the point strikes there."""

    async def main():
        await fault_point("persist", name="journal")
        return "kept"

    assert play(fail("journal"), main=main)[0].value == "kept"
    assert isinstance(play(fail("journal", point="persist"), main=main)[0].error, InjectedFault)
    assert isinstance(play(fail(point="persist"), main=main)[0].error, InjectedFault)
