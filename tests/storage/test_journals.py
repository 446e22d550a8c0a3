"""Journals: every implementation keeps the same promise, and half a record is no record."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wfsim
from wfsim.errors import DesignError
from wfsim.kernel import Simulation, sleep, start_process
from wfsim.nemesis import Rules, crash
from wfsim.storage import Disk, Journal, MemoryJournal, SQLiteJournal

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ü/ß"]), st.dictionaries(st.text(), JSON, max_size=3)), max_size=8
)

KINDS = {"memory": MemoryJournal, "sqlite": lambda: SQLiteJournal(":memory:")}


@pytest.fixture(params=KINDS)
def journal(request):
    return KINDS[request.param]()


async def write_and_read(journal, records):
    for key, record in records:
        await journal.append(key, record)
    keys = list(dict.fromkeys(key for key, _ in records))
    return keys, {key: await journal.read(key) for key in keys}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("simulated", [False, True])
@settings(deadline=None, max_examples=25)
@given(records=RECORDS)
def test_what_was_appended_is_read_back_in_order(kind, simulated, records):
    """For each key the records come back equal and in order, in a simulation and on a plain loop."""
    journal = KINDS[kind]()
    assert isinstance(journal, Journal)
    if simulated:
        keys, found = Simulation().run(write_and_read, journal, records).value
    else:
        keys, found = asyncio.run(write_and_read(journal, records))
    assert found == {key: [record for other, record in records if other == key] for key in keys}
    assert asyncio.run(journal.keys()) == keys


def test_an_unknown_key_has_no_records(journal):
    """Reading what was never written gives an empty list."""
    assert asyncio.run(journal.read("nobody")) == []


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"value": (1, 2)}, "'value' of the record for 'k' is tuple, which JSON cannot hold"),
        ({"value": {"at": [0, {1: 2}]}}, "item 1 in 'at' in 'value' of the record for 'k' has the key 1"),
        ({"value": object()}, "is object, which JSON cannot hold"),
    ],
)
def test_what_would_not_come_back_is_refused(journal, record, message):
    """A value that JSON would change on its way is refused when it is written, and named."""
    with pytest.raises(DesignError) as caught:
        asyncio.run(journal.append("k", record))
    assert message in str(caught.value)


@given(cut=st.integers(1, 200))
def test_a_torn_tail_is_dropped(cut):
    """Wherever the file is cut off, the whole records before it are read, and appending goes on after them."""
    journal = MemoryJournal()
    written = [{"n": number, "text": "x" * number} for number in range(6)]

    async def play():
        for record in written:
            await journal.append("k", record)
        content = journal.disk.read("k")
        journal.disk.write("k", content[: max(0, len(content) - cut)])
        whole = await journal.read("k")
        assert whole == written[: len(whole)]
        await journal.append("k", {"n": "next"})
        assert await journal.read("k") == [*whole, {"n": "next"}]

    asyncio.run(play())


@given(at=st.integers(0, 300), bit=st.integers(0, 7))
def test_a_damaged_record_is_never_read(at, bit):
    """A flipped bit ends the log at the record it is in; no record is ever read that was not written."""
    journal = MemoryJournal()
    written = [{"n": number, "text": "x" * number} for number in range(6)]

    async def play():
        for record in written:
            await journal.append("k", record)
        content = bytearray(journal.disk.read("k"))
        content[at % len(content)] ^= 1 << bit
        journal.disk.write("k", bytes(content))
        found = await journal.read("k")
        assert found == written[: len(found)]
        assert len(found) < len(written)

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(8))
def test_a_record_is_there_as_a_whole_or_not_at_all(seed):
    """Whenever a worker crashes while it writes: what was confirmed is there, and at most one record more."""
    confirmed = []

    async def worker(journal):
        while True:
            await journal.append("k", {"n": len(confirmed), "life": len(lives)})
            confirmed.append(len(confirmed))

    lives = []

    async def main(journal):
        for _ in range(5):
            lives.append(1)
            process = start_process(f"worker-{len(lives)}", worker, journal)
            await sleep(0.0105)
            process.crash()
            found = [record["n"] for record in await journal.read("k")]
            assert [number for number in confirmed if number not in found] == []
            assert len(found) <= len(confirmed) + len(lives)

    outcome = Simulation(seed=seed).run(main, MemoryJournal())
    assert outcome.error is None, outcome.error


def test_a_journal_that_does_not_sync_forgets():
    """Without sync an append returns at once, and a crash takes what it promised."""

    async def main(journal):
        async def worker():
            await journal.append("k", {"n": 1})
            await sleep(10)

        process = start_process("worker", worker)
        await sleep(1)
        process.crash()
        return await journal.read("k")

    assert Simulation().run(main, MemoryJournal(Disk(survives=0, tears=0), sync=False)).value == []
    assert Simulation().run(main, MemoryJournal(Disk(survives=0, tears=0))).value == [{"n": 1}]


def test_sqlite_survives_a_real_death(tmp_path):
    """What was appended is in the file when the process is killed without a farewell."""
    program = f"""
import asyncio, os
from wfsim.storage import SQLiteJournal
journal = SQLiteJournal({str(tmp_path / "j.db")!r})
async def main():
    await journal.append("k", {{"n": 1}})
    await journal.append("k", {{"n": 2}})
    os._exit(7)
asyncio.run(main())
"""
    root = str(Path(wfsim.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", program], cwd=root, check=False)
    assert done.returncode == 7
    with SQLiteJournal(tmp_path / "j.db") as journal:
        assert asyncio.run(journal.read("k")) == [{"n": 1}, {"n": 2}]


def test_sqlite_is_shared_by_tasks():
    """Tasks of one loop append side by side, each record whole."""
    journal = SQLiteJournal(":memory:")

    async def main():
        await asyncio.gather(*(journal.append(f"k{number % 3}", {"n": number}) for number in range(30)))
        return [record["n"] for key in ("k0", "k1", "k2") for record in await journal.read(key)]

    assert sorted(asyncio.run(main())) == list(range(30))


def test_sqlite_in_a_simulation_takes_time_and_passes_a_fault_point(tmp_path):
    """An append takes its latency; a crash at "persist" leaves the real file without the record."""
    journal = SQLiteJournal(tmp_path / "j.db", latency="20ms")

    async def main():
        await journal.append("k", {"n": 1})

    assert Simulation().run(main).duration_ns == 20_000_000
    assert Simulation(nemesis=Rules([crash("k", point="persist")])).run(main).name == "crashed"
    assert asyncio.run(journal.read("k")) == [{"n": 1}]
    journal.close()


def test_the_frames_are_those_of_a_log_on_disk():
    """A record's frame is its length and CRC-32, four bytes each, big endian, then its JSON in UTF-8."""
    journal = MemoryJournal()
    asyncio.run(journal.append("k", {"n": "ü"}))
    content = journal.disk.read("k")
    text = json.dumps({"n": "ü"}, ensure_ascii=False, separators=(",", ":")).encode()
    assert content[:4] == len(text).to_bytes(4, "big")
    assert content[8:] == text
