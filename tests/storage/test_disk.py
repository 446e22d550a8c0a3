"""The disk: what was synced stays, what was not may be lost or torn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfsim.errors import DesignError
from wfsim.kernel import Simulation, sleep, start_process
from wfsim.nemesis import Rules, crash, fail
from wfsim.storage import Disk


def after_crash(write, disk, *, seed=0, restart_after=None, faults=()):
    """Run ``write(disk)`` in a process, crash it ten seconds later and give the simulation's outcome."""

    async def worker():
        await write(disk)
        await sleep(100)

    async def main():
        process = start_process("worker", worker, restart_after=restart_after)
        await sleep(10)
        process.crash()

    return Simulation(seed=seed, nemesis=Rules(faults)).run(main)


def test_what_is_written_is_seen_at_once():
    """A reader sees writes that are not yet durable, as through a machine's page cache."""
    disk = Disk()
    disk.append("log", b"ab")
    disk.append("log", b"cd")
    assert disk.read("log") == b"abcd"
    disk.write("log", b"x")
    assert disk.read("log") == b"x"
    assert disk.files == ("log",)
    assert disk.read("other") == b""


def test_a_crash_spares_what_was_synced():
    """What was synced is there after the crash; with no luck at all nothing else is."""

    async def write(disk):
        disk.append("log", b"safe")
        await disk.sync("log")
        disk.append("log", b"lost")

    disk = Disk(survives=0, tears=0)
    after_crash(write, disk)
    assert disk.read("log") == b"safe"


def test_a_crash_may_spare_what_was_not_synced():
    """A machine may have written more than it was asked to make durable."""

    async def write(disk):
        disk.append("log", b"lucky")

    disk = Disk(survives=1)
    after_crash(write, disk)
    assert disk.read("log") == b"lucky"


def test_a_crash_may_tear_the_last_write():
    """Of a torn write only the first bytes are there, at least one and not all; nothing after it is."""

    async def write(disk):
        disk.append("log", b"0123456789")
        disk.append("log", b"never")

    contents = []
    for seed in range(20):
        disk = Disk(survives=0, tears=1)
        after_crash(write, disk, seed=seed)
        contents.append(disk.read("log"))
    assert all(b"0123456789".startswith(content) and 0 < len(content) < 10 for content in contents)
    assert len(set(contents)) > 3


def test_a_torn_replacement_leaves_the_rest_of_the_old():
    """Where a file was to be replaced, the old bytes stand behind the new ones that made it."""

    async def write(disk):
        disk.write("file", b"aaaaaaaa")
        await disk.sync("file")
        disk.write("file", b"bbbb")

    disk = Disk(survives=0, tears=1)
    after_crash(write, disk)
    content = disk.read("file")
    assert content.startswith(b"b")
    assert content.endswith(b"aaaaa")
    assert len(content) == 8


@given(st.integers(0, 10_000), st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=6))
def test_what_survives_is_a_beginning_of_what_was_written(seed, writes):
    """Whatever chance decides: writes to a log survive in order, none without those before it."""

    async def write(disk):
        for data in writes:
            disk.append("log", data)

    disk = Disk()
    after_crash(write, disk, seed=seed)
    first = disk.read("log")
    assert b"".join(writes).startswith(first)
    assert disk.read("log") == first  # a crash takes its toll once


def test_a_process_that_ends_in_order_loses_nothing():
    """Its writes are still in the machine's memory, whether it returned or raised."""

    async def main(disk):
        async def good():
            disk.append("log", b"1")

        async def bad():
            disk.append("log", b"2")
            raise OSError

        await start_process("good", good)
        await asyncio.wait([asyncio.ensure_future(_await(start_process("bad", bad)))])

    disk = Disk(survives=0)
    Simulation().run(main, disk)
    assert disk.read("log") == b"12"


async def _await(process):
    return await process


def test_only_the_crashed_process_loses():
    """Another process that writes to the same disk keeps what it wrote."""

    async def main(disk):
        async def mine():
            disk.append("mine", b"m")
            disk.append("shared", b"m")
            await sleep(100)

        process = start_process("mine", mine)
        await sleep(1)
        disk.append("shared", b"o")
        disk.append("other", b"o")
        process.crash()

    disk = Disk(survives=0, tears=0)
    Simulation().run(main, disk)
    assert (disk.read("mine"), disk.read("shared"), disk.read("other")) == (b"", b"o", b"o")


def test_a_restarted_process_finds_what_was_synced():
    """After a restart the same process reads what it had made durable, and goes on from there."""
    found = []

    async def write(disk):
        found.append(disk.read("log"))
        disk.append("log", b"x")
        await disk.sync("log")
        disk.append("log", b"y")

    async def main(disk):
        async def worker():
            await write(disk)
            await sleep(100)

        process = start_process("worker", worker, restart_after=1)
        await sleep(10)
        process.crash()
        await sleep(10)

    Simulation().run(main, Disk(survives=0, tears=0))
    assert found == [b"", b"x"]


def test_sync_is_a_fault_point():
    """A crash at "persist" strikes when the data are written and not yet durable; a failure is raised."""

    async def write(disk):
        disk.append("log", b"x")
        await disk.sync("log")

    disk = Disk(survives=0, tears=0)
    after_crash(write, disk, faults=[crash(point="persist")])
    assert disk.read("log") == b""

    async def main():
        await write(Disk())

    full = OSError("no space left")
    assert str(Simulation(nemesis=Rules([fail("log", point="persist", error=full)])).run(main).error) == str(
        full
    )


def test_a_crash_while_syncing_is_a_crash_before():
    """A sync takes its time, and until it returns nothing is certain."""

    async def write(disk):
        disk.append("log", b"x")
        await disk.sync("log")

    disk = Disk(latency="1m", survives=0, tears=0)
    after_crash(write, disk)
    assert disk.read("log") == b""


def test_the_same_seed_loses_the_same():
    """What a crash takes is the seed's choice alone."""

    async def write(disk):
        for number in range(20):
            disk.append("log", bytes([number]) * 7)

    def once(seed):
        disk = Disk(survives=0.9)
        after_crash(write, disk, seed=seed)
        return disk.read("log")

    assert [once(seed) for seed in range(10)] == [once(seed) for seed in range(10)]
    assert len({once(seed) for seed in range(10)}) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"survives": 2}, "survives=2 of disk 'd' must be a probability, from 0 to 1"),
        ({"tears": "often"}, "tears='often' of disk 'd' must be a probability"),
        ({"survives": True}, "must be a probability"),
    ],
)
def test_wrong_disks_are_refused(options, message):
    """A disk that cannot be is refused when it is made, and the message names the option."""
    with pytest.raises(DesignError) as caught:
        Disk("d", **options)
    assert message in str(caught.value)


def test_a_negative_latency_is_refused():
    """Time does not run backwards on a disk either."""
    with pytest.raises(ValueError, match="-1"):
        Disk("d", latency=-1)
