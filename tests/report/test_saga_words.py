"""The timeline tells of a saga's journal, its lives and its locks in its own words."""

from __future__ import annotations

from wfsim import LockTable, MemoryJournal, Retry, Saga, crash, fail, simulate, start_process
from wfsim.report._story import tell


def lines_of(saga, *faults):
    async def main():
        await start_process("worker", saga.run, "order-1", restart_after=5)

    return [line.text for line in tell(simulate(main, faults=list(faults)).history)]


def build(**options):
    saga = Saga("order", journal=MemoryJournal())
    saga.add_step("reserve", forward=lambda: None, compensate=lambda: None, **options)
    return saga.add_step("charge", forward=lambda: None)


def test_a_crash_is_told_with_the_record_that_it_met():
    """Before a record, after it, and while the disk had it and had not yet synced it."""
    told = lines_of(build(), crash("charge", point="journal", on="done", count=1))
    assert (
        "process worker crashes before it could note 'charge' as done in its journal (injected), restarts in 5s"
        in told
    )
    told = lines_of(build(), crash(point="journalled", on="completed", count=1))
    assert any("after it had noted completed in its journal" in line for line in told)
    told = lines_of(build(), crash(point="persist", on="disk", count=1))
    assert any("while order/order-1 was not yet safe on its disk" in line for line in told)


def test_a_second_life_goes_on():
    """A saga that a journal carries over a crash starts once and then goes on."""
    told = lines_of(build(), crash("charge", count=1))
    assert [line for line in told if line in {"order starts", "order goes on"}] == [
        "order starts",
        "order goes on",
    ]


def test_locks_are_told():
    """Who takes a record and who gives it back."""
    told = lines_of(build(locks=LockTable("rooms").lock("room 7")))
    assert "lock room 7 ok" in told
    assert "order/order-1 gives back room 7" in told


def test_tries_of_a_compensation_are_told_as_such():
    """What is tried again is the way back, and not the step."""
    saga = Saga("order")
    retry = Retry(attempts=2, delay="1s")
    saga.add_step("reserve", forward=lambda: None, compensate=lambda: None, compensate_retry=retry)
    saga.add_step("charge", forward=lambda: None)
    told = lines_of(saga, fail("reserve", on="compensate"), fail("charge"))
    assert "waits 1s, then tries to compensate reserve again" in told
    assert "gives up compensating reserve after trying 2 times" in told
