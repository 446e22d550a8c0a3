"""Semantic locks: sagas have no isolation of their own, so they mark what they are about to change."""

from __future__ import annotations

import asyncio

import pytest

from wfsim.checkers import compensated_exactly_once, locks_respected, no_lost_update
from wfsim.errors import CompensationStuck, DesignError, RecordLocked, StaleRecord
from wfsim.kernel import Simulation, effect, sleep, start_process
from wfsim.nemesis import Rules, crash, delay, fail
from wfsim.resilience import Retry
from wfsim.storage import MemoryJournal
from wfsim.workflows import LockTable, Saga


class Rooms:
    """A hotel with rooms left; whoever books one reads how many there are, and a while later writes."""

    def __init__(self):
        self.left = 5

    async def look(self):
        await sleep(0.1)
        effect("read", "room")
        return self.left

    async def book(self, context):
        await sleep(0.5)
        self.left = context["look"] - 1
        effect("write", "room")

    async def cancel(self):
        await sleep(0.1)
        self.left += 1


def booking(rooms, table=None, **lock):
    """A saga that reads, then writes; the lock is taken before it reads, or it reads again."""
    saga = Saga("booking")
    held = table.lock("room", **lock) if table is not None else ()
    early, late = ((), held) if lock.get("when_locked") == "reread" else (held, ())
    reads = table.read("room") if lock.get("when_locked") == "reread" else ()
    saga.add_step("look", forward=rooms.look, read_only=True, locks=early, reads=reads)
    saga.add_step("book", forward=rooms.book, compensate=rooms.cancel, locks=late)
    return saga.add_step("pay", forward=lambda: sleep(0.2))


def race(saga, count=3, faults=()):
    """Run several instances a little apart, and give what came of each."""

    async def one(number):
        await sleep(number * 0.05)
        return await saga.run(key=f"guest-{number}")

    async def main():
        return await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)

    simulation = Simulation(nemesis=Rules(faults))
    return simulation.run(main).value, simulation.recorder.history()


def test_without_a_lock_updates_are_lost():
    """Three guests book; one room is gone. The checker names the writes that were lost."""
    rooms = Rooms()
    _, history = race(booking(rooms))
    assert rooms.left == 4
    assert no_lost_update(history, read="read", write="write").valid is False
    assert locks_respected(history).valid == "unknown"


def test_waiting_makes_them_take_turns():
    """Each waits until the one before has ended, in the order in which they came; no update is lost."""
    rooms, table = Rooms(), LockTable("rooms")
    _, history = race(booking(rooms, table))
    assert rooms.left == 2
    assert no_lost_update(history, read="read", write="write").valid is True
    assert locks_respected(history).valid is True
    assert table.held == {}
    taken = [history[op.invoke].data["holder"] for op in history.where(kind="lock", type="ok")]
    assert taken == ["booking/guest-0", "booking/guest-1", "booking/guest-2"]


def test_a_saga_that_turns_back_gives_the_record_back():
    """The lock is held until the compensation is done, then the next one has its turn."""
    rooms, table = Rooms(), LockTable("rooms")
    values, history = race(booking(rooms, table), faults=[fail("pay", count=1)])
    assert rooms.left == 3
    assert [isinstance(value, Exception) for value in values] == [True, False, False]
    unlocks = history.where(kind="unlock")
    undone = history.where(kind="compensate", type="ok")
    assert undone[0].index < unlocks[0].index
    assert locks_respected(history).valid is True


def test_failing_at_once():
    """With "fail" whoever comes second is refused at once, with the record and its holder."""
    table = LockTable("rooms")
    values, _ = race(booking(Rooms(), table, when_locked="fail"))
    assert [type(value) for value in values] == [dict, RecordLocked, RecordLocked]
    assert str(values[1]) == "record 'room' is held by saga 'booking/guest-0'"


def test_waiting_no_longer_than_told():
    """A wait with a timeout ends in RecordLocked; the step then failed for certain, not in doubt."""
    table = LockTable("rooms")
    values, history = race(booking(Rooms(), table, timeout="100ms"))
    assert [type(value) for value in values] == [dict, RecordLocked, RecordLocked]
    assert "waited too long" in str(values[1])
    assert compensated_exactly_once(history).valid is not False


def test_rereading_notices_what_changed():
    """With "reread" a saga does not lock what it reads; before it writes it sees that its value is stale."""
    rooms, table = Rooms(), LockTable("rooms")
    values, history = race(booking(rooms, table, when_locked="reread"))
    assert [type(value) for value in values] == [dict, StaleRecord, StaleRecord]
    assert rooms.left == 4
    assert no_lost_update(history, read="read", write="write").valid is not False
    assert "was changed since it was read" in str(values[1])


def test_an_undone_change_makes_nothing_stale():
    """A saga that was compensated has put the value back; who had read it before may go on."""
    rooms, table = Rooms(), LockTable("rooms")
    values, _ = race(booking(rooms, table, when_locked="reread"), count=2, faults=[fail("pay", count=1)])
    assert [isinstance(value, Exception) for value in values] == [True, False]


def test_sagas_that_would_wait_for_each_other_do_not():
    """The one that would close the circle is refused and turns back; the other goes on."""
    table = LockTable("accounts")

    def transfer(first, second):
        saga = Saga(f"{first}-to-{second}")
        saga.add_step("debit", forward=lambda: sleep(1), compensate=lambda: sleep(1), locks=table.lock(first))
        return saga.add_step("credit", forward=lambda: sleep(1), locks=table.lock(second))

    async def main():
        sagas = transfer("a", "b"), transfer("b", "a")
        return await asyncio.gather(*(saga.run(key=1) for saga in sagas), return_exceptions=True)

    simulation = Simulation()
    values = simulation.run(main).value
    assert [type(value) for value in values] == [dict, RecordLocked]
    assert "they wait for each other: b-to-a/1 -> a-to-b/1 -> b-to-a/1" in str(values[1])
    assert locks_respected(simulation.recorder.history()).valid is True


def test_who_takes_several_records_takes_them_in_one_order():
    """Two transfers in opposite directions, each of which takes both accounts at once, never wait in a circle."""
    table = LockTable("accounts")
    transfer = Saga("transfer")
    both = table.lock(lambda context: context.input.split())
    transfer.add_step("move", forward=lambda: sleep(1), locks=both)

    async def main():
        transfers = (transfer.run(way, key=way) for way in ("a b", "b a"))
        return await asyncio.gather(*transfers, return_exceptions=True)

    simulation = Simulation(nemesis=Rules([delay(by="100ms", on="lock")]))
    assert simulation.run(main).value == [{"move": None}, {"move": None}]


def test_a_retry_does_not_lock_twice():
    """A step that is tried again holds its record already."""
    table = LockTable()
    saga = Saga("s").add_step(
        "a",
        forward=lambda: None,
        retry=Retry(attempts=3),
        locks=table.lock(lambda context: [context.input, "x"]),
    )
    simulation = Simulation(nemesis=Rules([fail("a", attempts=[1, 2])]))
    assert simulation.run(saga.run, "r").name == "ok"
    taken = simulation.recorder.history().where(kind="lock", type="ok")
    assert [op.name for op in taken] == ["r", "x"]


def test_a_saga_does_not_wait_for_itself():
    """Two steps may lock one record, and a crash may cut the first one off: it is the same holder."""
    table = LockTable()
    saga = Saga("s", journal=MemoryJournal())
    for name in "ab":
        saga.add_step(name, forward=lambda: sleep(1), compensate=lambda: None, locks=table.lock("r"))

    async def main():
        await start_process("worker", saga.run, "k", restart_after=1)

    assert Simulation(nemesis=Rules([crash("a", count=1)])).run(main).name == "ok"
    assert table.held == {}


def test_a_lock_outlives_the_crash_of_its_holder():
    """Nobody gets at a record while its saga is half done; the resumed saga holds it still, then gives it back."""
    table, log = LockTable("rooms"), []

    def book(name):
        saga = Saga(name, journal=MemoryJournal())

        async def act():
            log.append(f"{name} begins")
            await sleep(1)
            log.append(f"{name} ends")

        saga.add_step("book", forward=act, compensate=act, locks=table.lock("room"))
        return saga.add_step("pay", forward=lambda: None)

    async def main():
        first = start_process("first", book("one").run, "k", restart_after=60)
        await sleep(0.1)
        second = start_process("second", book("two").run, "k")
        await first
        await second

    simulation = Simulation(nemesis=Rules([crash("pay", process="first", count=1)]))
    assert simulation.run(main).name == "ok"
    assert log == ["one begins", "one ends", "two begins", "two ends"]
    assert locks_respected(simulation.recorder.history()).valid is True
    assert table.held == {}


def test_a_waiter_that_crashes_does_not_stop_the_line():
    """The record goes to the next one that is alive."""
    table = LockTable("rooms")

    def saga(name):
        return Saga(name).add_step("hold", forward=lambda: sleep(10), locks=table.lock("room"))

    async def main():
        processes = [start_process(name, saga(name).run) for name in ("one", "two", "three")]
        await sleep(1)
        processes[1].crash()
        await processes[2]

    assert Simulation().run(main).duration_ns == 20 * 10**9


def test_a_stuck_saga_keeps_its_record():
    """What is half undone is not for others: the lock stays, and the checker leaves it a doubt."""
    table = LockTable("rooms")
    saga = Saga("s").add_step("a", forward=lambda: None, compensate=lambda: None, locks=table.lock("room"))
    saga.add_step("b", forward=lambda: None)
    simulation = Simulation(nemesis=Rules([fail("b"), fail("a", on="compensate")]))
    outcome = simulation.run(lambda: saga.run(key="k"))
    assert isinstance(outcome.error, CompensationStuck)
    assert table.holder("room") == "s/k"
    assert locks_respected(simulation.recorder.history()).valid == "unknown"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda t: t.lock("r", when_locked="hope"),
            "when_locked='hope' is unknown; allowed: wait, fail, reread",
        ),
        (
            lambda t: t.lock("r", when_locked="fail", timeout="1s"),
            "a lock that fails at once needs no timeout",
        ),
        (lambda t: t.lock(""), "the name of a record of lock table 'rooms' must be a text"),
        (lambda t: t.lock(lambda: "r"), "must be a name, or a function of the context"),
        (
            lambda t: Saga().add_step("a", forward=print, locks=t.read("r")),
            "locks of step 'a' of saga 'saga': write",
        ),
        (lambda t: Saga().add_step("a", forward=print, reads=t.lock("r")), "write LockTable(...).read(...)"),
        (lambda _: Saga().add_step("a", forward=print, locks=["r"]), "write LockTable(...).lock(...)"),
        (
            lambda t: Saga().add_step("a", forward=print, locks=t.lock("r", when_locked="reread")),
            "rereads what no step before it has read; give an earlier step reads=",
        ),
    ],
)
def test_wrong_locks_are_refused(build, message):
    """A lock that cannot work is refused when it is made, and the message tells the cure."""
    with pytest.raises(DesignError) as caught:
        build(LockTable("rooms"))
    assert message in str(caught.value)


def test_locks_work_on_a_plain_loop():
    """Outside a simulation the same table serves asyncio's own tasks."""
    table, log = LockTable(), []

    def saga(name):
        async def act():
            log.append(f"{name} in")
            await asyncio.sleep(0.005)
            log.append(f"{name} out")

        return Saga(name).add_step("a", forward=act, locks=table.lock("r"))

    async def main():
        await asyncio.gather(*(saga(name).run() for name in "xyz"))

    asyncio.run(main())
    assert log == [f"{name} {word}" for name in "xyz" for word in ("in", "out")]
