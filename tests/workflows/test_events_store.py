"""The event store: versions, positions, snapshots, projections, readers that miss nothing, and the outbox."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from wfsim import (
    Event,
    EventBus,
    EventStore,
    Outbox,
    corrupt,
    crash,
    delay,
    duplicate,
    effect,
    fail,
    lose_event,
    now,
    simulate,
    sleep,
    start_process,
)
from wfsim.errors import ConcurrencyError, DesignError
from wfsim.storage import Disk, MemoryJournal, SQLiteJournal
from wfsim.workflows import Projection


def play(main, *args, faults=(), seed=0):
    run = simulate(main, *args, faults=faults, seed=seed)
    assert run.ok, run.error
    return run


def deposited(amount):
    return Event("deposited", {"amount": amount})


def balance(state, event):
    return state + event.payload["amount"]


# -- writing and reading


def test_versions_count_the_events_of_a_stream_and_positions_all():
    """The first event of a stream is its version 1; positions count all events of the store from 0."""

    async def main():
        store = EventStore()
        await store.append("a", [deposited(1), deposited(2)], expected_version=0)
        await store.append("b", deposited(3))
        await store.append("a", deposited(4), expected_version=2)
        return store

    store = play(main).value
    assert [(one.stream, one.version, one.position, one.payload["amount"]) for one in store.read_all()] == [
        ("a", 1, 0, 1),
        ("a", 2, 1, 2),
        ("b", 1, 2, 3),
        ("a", 3, 3, 4),
    ]
    assert [one.event.id for one in store.read("a")] == ["a@1", "a@2", "a@3"]
    assert (store.version("a"), store.version("b"), store.version("c"), store.position) == (3, 1, 0, 4)
    assert [one.version for one in store.read("a", from_version=2, to_version=2)] == [2]
    assert [one.position for one in store.read_all(from_position=1, limit=2)] == [1, 2]


def test_who_appends_to_what_has_changed_is_refused():
    """Optimistic concurrency: of two who read the same version one wins, the other is told both versions."""

    async def main():
        store = EventStore()
        await store.append("a", deposited(1), expected_version=0)

        async def add(amount):
            version = store.version("a")
            await sleep(1)
            await store.append("a", deposited(amount), expected_version=version)

        results = await asyncio.gather(add(2), add(3), return_exceptions=True)
        return store.version("a"), results

    version, (first, second) = play(main).value
    assert version == 2
    assert first is None
    assert isinstance(second, ConcurrencyError)
    assert (second.stream, second.expected, second.actual) == ("a", 1, 2)
    assert str(second).startswith("stream 'a' is at version 2, not 1 as expected: somebody else appended")


def test_a_refused_append_changes_nothing():
    """All events of an append or none."""

    async def main():
        store = EventStore()
        with pytest.raises(ConcurrencyError):
            await store.append("a", [deposited(1), deposited(2)], expected_version=1)
        return store.position

    assert play(main).value == 0


def test_an_append_may_be_repeated():
    """What is in the stream under the same ids is not appended again: the outcome of the first was unknown."""

    async def main():
        store = EventStore()
        first = await store.append("a", Event("x", 1, id="once"), expected_version=0)
        again = await store.append("a", Event("x", 1, id="once"), expected_version=0)
        return first == again, store.version("a")

    assert play(main).value == (True, 1)


@pytest.mark.parametrize("events", [[], "text", [1]])
def test_only_events_can_be_appended(events):
    """Nothing, or what is no event, is refused with what would be right."""
    with pytest.raises(DesignError, match=r"at least one event|a store keeps Events"):
        asyncio.run(EventStore().append("a", events))


def test_a_snapshot_saves_reading():
    """``load`` begins at the last snapshot and gives the version that the state is of."""

    async def main():
        store = EventStore()
        await store.append("a", [deposited(1), deposited(2)])
        state, version = store.load("a", balance, 0)
        store.save_snapshot("a", version, state)
        await store.append("a", deposited(4))
        applied = []
        loaded = store.load("a", lambda state, event: applied.append(event) or balance(state, event), 0)
        with pytest.raises(DesignError, match="is at version 3; there is nothing to save of 9"):
            store.save_snapshot("a", 9, 0)
        return loaded, len(applied)

    assert play(main).value == ((7, 3), 1)


# -- the seed's own lines


def test_publish_and_replay_where_no_loop_runs():
    """A subscriber with ``handle`` gets what is published, and what was, from any position on."""

    class Subscriber:
        def __init__(self):
            self.seen = []

        def handle(self, event):
            self.seen.append(event.payload)

    store, early, late = EventStore(), Subscriber(), Subscriber()
    store.subscribe(early)
    store.publish(Event("a", 1))
    store.publish(Event("a", 2))
    store.replay(late)
    store.replay(late, from_position=1)
    assert early.seen == [1, 2]
    assert late.seen == [1, 2, 2]


def test_publish_chooses_the_stream():
    """The stream is that of the event's key; without a key that of its topic."""
    store = EventStore()
    store.publish(Event("a", key="k"))
    store.publish(Event("a"))
    assert [one.stream for one in store.read_all()] == ["k", "a"]


def test_replay_in_a_loop_is_awaited():
    """In a coroutine the subscriber may be one too; its error reaches who awaits."""

    async def main():
        store, seen = EventStore(), []
        store.publish(Event("a", 1))

        async def handle(event):
            await sleep(1)
            seen.append(event.payload)

        await store.replay(handle)

        async def broken(_event):
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await store.replay(broken)
        return seen

    assert play(main).value == [1]


# -- readers


def test_a_late_subscriber_misses_nothing():
    """First what there is, then what comes while it reads, then what comes later: no gap, nothing twice."""

    async def main():
        store, seen = EventStore(), []
        for number in range(3):
            store.publish(Event("a", number))

        async def listen(event):
            await sleep(1)
            seen.append(event.payload)

        late = store.subscribe(listen)
        await sleep(1.5)
        store.publish(Event("a", 3))
        await late.caught_up()
        await sleep(5)
        store.publish(Event("a", 4))
        await late.caught_up()
        return seen, late.position

    assert play(main).value == ([0, 1, 2, 3, 4], 5)


@pytest.mark.parametrize(
    "fault",
    [
        lose_event(probability=0.5),
        duplicate(),
        corrupt(field="number", value="garbled", probability=0.5),
        delay("reader", "3s", point="deliver", probability=0.5),
        fail("reader", on="handle", probability=0.5),
        fail("reader", point="deliver", probability=0.5),
    ],
    ids=lambda rule: rule.fault.kind,
)
def test_a_reader_by_position_withstands_every_fault_of_events(fault):
    """It asks for the next position until it has handled it."""

    async def main():
        store, seen = EventStore(), []

        async def listen(event):
            seen.append(event.payload["number"] + 0)

        reader = store.subscribe(listen, name="reader")
        for number in range(8):
            store.publish(Event("a", {"number": number}))
            await sleep(1)
        await reader.caught_up()
        return seen

    run = play(main, faults=[fault], seed=3)
    assert run.value == list(range(8))
    assert run.history.where(kind="fault")


def test_a_durable_reader_goes_on_where_it_was():
    """After a crash it begins behind the last event that it handled, under its name."""

    async def main():
        store, seen = EventStore(), []

        async def listen(event):
            await sleep(1)
            seen.append(event.payload)

        async def service():
            store.subscribe(listen, name="billing", durable=True)
            await asyncio.Event().wait()

        process = start_process("billing", service, restart_after=5)
        for number in range(4):
            store.publish(Event("a", number))
        await sleep(2.5)
        process.crash()
        await sleep(20)
        return seen

    assert play(main).value == [0, 1, 2, 3]


def test_a_reader_chooses_its_topics_and_its_start():
    """Others' topics are passed over, and so is what stands before the start."""

    async def main():
        store, seen = EventStore(), []
        for number in range(4):
            store.publish(Event("even" if number % 2 == 0 else "odd", number))
        reader = store.subscribe(lambda event: seen.append(event.payload), topic="even", from_position=1)
        await reader.caught_up()
        return seen

    assert play(main).value == [2]


def test_a_reader_gives_up_after_so_many_tries():
    """With a limit the event is set aside and the next one follows."""

    async def main():
        store, seen = EventStore(), []

        async def listen(event, stored):
            seen.append((event.payload, stored.position))
            if event.payload == 0:
                raise ValueError("no")

        reader = store.subscribe(listen, max_deliveries=2)
        store.publish(Event("a", 0))
        store.publish(Event("a", 1))
        await reader.caught_up()
        reader.stop()
        store.publish(Event("a", 2))
        await sleep(1)
        return seen, [letter.because for letter in reader.dead_letters]

    assert play(main).value == ([(0, 0), (0, 0), (1, 1)], ["its handler failed: ValueError: no"])


def test_a_reader_whose_reply_is_lost_handles_the_event_again():
    """Its handler is an operation like any other: what fails after the effect is done again."""

    async def main():
        store, seen = EventStore(), []
        reader = store.subscribe(lambda event: seen.append(event.payload), name="reader")
        store.publish(Event("a", 1))
        await sleep(1)
        await reader.caught_up()
        return seen

    assert play(main, faults=[fail("reader", on="handle", point="reply", count=1)]).value == [1, 1]


def test_wrong_readers_are_refused():
    """A durable reader needs a name; positions count from 0."""
    store = EventStore()
    with pytest.raises(DesignError, match="add name="):
        store.subscribe(print, durable=True)
    with pytest.raises(DesignError, match="from_position=-1"):
        store.subscribe(print, from_position=-1)
    with pytest.raises(DesignError, match="max_deliveries=0"):
        store.subscribe(print, max_deliveries=0)


# -- projections


def test_a_projection_follows_and_can_be_rebuilt():
    """Catching up while it follows applies nothing twice; rebuilt it is the same."""

    async def main():
        store = EventStore()
        await store.append("a", [deposited(1), Event("renamed"), deposited(2)])
        total = Projection(store, balance, initial=int, topic="deposited")
        assert total.catch_up() == 3
        follower = total.follow()
        store.publish(deposited(4))
        assert total.catch_up() == 7
        await follower.caught_up()
        return total.state, total.rebuild(), total.position

    assert play(main).value == (7, 7, 4)


def test_a_projection_may_change_its_state_in_place():
    """``apply`` may return nothing."""
    store = EventStore()
    store.publish(Event("a", 1))
    seen = Projection(store, lambda state, event: state.append(event.payload), initial=list)
    assert seen.catch_up() == [1]


# -- journals


def test_a_store_on_a_journal_survives_a_crash():
    """What was appended is there when the process starts again; what was not durable is not."""

    async def main():
        disk = Disk(survives=0)

        async def service():
            store = EventStore(journal=MemoryJournal(disk))
            await store.open()
            before = store.version("a")
            if before == 0:
                await store.append("a", [deposited(1), deposited(2)], expected_version=0)
                await store.append("a", deposited(4), expected_version=2)
            return [one.payload["amount"] for one in store.read("a")], store.load("a", balance, 0)

        return await start_process("bank", service, restart_after=1)

    lost = crash(point="persist", on="disk", after="1ms", count=1)
    assert play(main).value == ([1, 2, 4], (7, 3))
    assert play(main, faults=[lost]).value == ([1, 2], (3, 2))


def test_appends_to_a_journal_are_in_one_order(tmp_path):
    """Concurrent appends line up; a second store on the same SQLite file reads the same."""

    async def main():
        store = EventStore(journal=SQLiteJournal(tmp_path / "events.db"))
        results = await asyncio.gather(
            *(store.append("a", deposited(number), expected_version=number) for number in range(3)),
            store.append("a", deposited(9), expected_version=1),
            return_exceptions=True,
        )
        again = EventStore(journal=SQLiteJournal(tmp_path / "events.db"))
        await again.open()
        return results, store.read_all(), again.read_all()

    results, first, second = asyncio.run(main())
    assert sum(isinstance(result, ConcurrencyError) for result in results) == 1
    assert first == second
    assert [one.version for one in first] == [1, 2, 3]


def test_publishing_waits_for_the_journal():
    """Awaited, the event is durable; a fault at the point ``persist`` reaches who awaits."""

    async def main():
        store = EventStore(journal=MemoryJournal(Disk(latency="2s")))
        await store.publish(deposited(1))
        return now(), store.position

    assert play(main).value == (2, 1)

    async def failing():
        store = EventStore()
        with pytest.raises(OSError, match="full"):
            await store.publish(Event("a"))
        return store.position

    assert play(failing, faults=[fail(point="persist", error=OSError("full"))]).value == 0


# -- the outbox


def outbox_run(*faults, seed=0):
    """A service that commits three orders; its process relays them; both may crash and start again."""

    async def main():
        disk = Disk()
        bus = EventBus(delivery="effectively_once")
        heard = []
        bus.subscribe("order.placed", lambda event: heard.append(event.key))

        async def orders():
            outbox = Outbox(MemoryJournal(disk))
            await outbox.open()
            relay = asyncio.create_task(outbox.relay(bus))
            for number in range(len(outbox.states), 3):
                await outbox.commit({"order": number}, Event("order.placed", key=f"o{number}"))
                effect("order saved", f"o{number}")
                await sleep(1)
            while outbox.pending:
                await sleep(1)
            relay.cancel()

        await start_process("orders", orders, restart_after=1)
        await bus.drain()
        return heard

    run = simulate(main, faults=faults, seed=seed)
    assert run.ok, run.error
    return run


def test_an_outbox_publishes_what_it_committed():
    """State and event are one record; the relay publishes them in order."""
    assert outbox_run().value == ["o0", "o1", "o2"]


@pytest.mark.parametrize("nth", range(1, 7))
def test_an_outbox_survives_a_crash_at_every_write(nth):
    """Wherever the process crashes, each order that was saved is told once to who remembers ids."""
    strikes = [crash(point="persist", on="disk", count=1)]
    skips = [delay(point="persist", on="disk", by="1ns", count=nth - 1)] if nth > 1 else []
    run = outbox_run(*skips, *strikes)
    assert sorted(run.value) == ["o0", "o1", "o2"]
    assert run.history.where(kind="process", name="crash")


def test_an_outbox_remembers_what_it_has_published():
    """Opened again it has nothing left to publish, and numbers on where it was."""

    async def main():
        disk, bus = Disk(), EventBus()
        first = Outbox(MemoryJournal(disk))
        await first.open()
        await first.commit({"n": 1}, Event("a"), Event("b"))
        before = [event.id for event in first.pending]
        await first.flush(bus)
        again = Outbox(MemoryJournal(disk))
        await again.open()
        await again.commit({"n": 2}, Event("c"))
        return before, again.states, [event.id for event in again.pending]

    assert play(main).value == (["outbox-1", "outbox-2"], [{"n": 1}, {"n": 2}], ["outbox-3"])


def test_an_outbox_has_to_be_opened():
    """Else it would give the ids of an earlier life again."""
    with pytest.raises(DesignError, match=r"first await outbox\.open"):
        asyncio.run(Outbox(MemoryJournal()).commit({}))


def test_an_outbox_publishes_again_what_was_not_confirmed():
    """The relay does not give up, and the event keeps its id."""
    run = outbox_run(lose_event("order.placed", point="publish", count=2))
    assert run.value == ["o0", "o1", "o2"]
    ids = [op.data["id"] for op in run.history.where(kind="publish", type="invoke")]
    assert ids == ["outbox-1", "outbox-1", "outbox-1", "outbox-2", "outbox-3"]


# -- side by side with another library

RECORDED = json.loads((Path(__file__).parent / "eventsourcing_recorder.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: case["name"])
def test_the_store_does_what_the_recorder_of_eventsourcing_does(case):
    """The same appends are refused, and versions and places in the whole order are the same.

    What eventsourcing calls a notification's id, counted from 1, is our position, counted from 0. The file
    holds what its in-memory recorder did.
    """

    async def main():
        store, outcome = EventStore(), []
        for stream, first, count in case["appends"]:
            try:
                await store.append(stream, [Event("t")] * count, expected_version=first - 1)
            except ConcurrencyError:
                outcome.append("refused")
            else:
                outcome.append("ok")
        return store, outcome

    store, outcome = asyncio.run(main())
    assert outcome == case["outcome"]
    assert [[one.stream, one.version, one.position + 1] for one in store.read_all()] == case["all"]
    assert [one.version for one in store.read("a", from_version=2)] == case["stream_a_from_2"]
    notifications = [one.position + 1 for one in store.read_all(from_position=1, limit=2)]
    assert notifications == case["notifications_from_2"]
    assert store.position == (case["last"] or 0)
