"""A journal in an SQLite database: one file, transactions, no server."""

from __future__ import annotations

import asyncio
import json
from threading import Lock
from typing import TYPE_CHECKING, Any

from wfsim.kernel import current, fault_point, sleep
from wfsim.storage._journal import to_text
from wfsim.units import NS_PER_SECOND, Duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike
    from typing import Self

_TABLE = """
    CREATE TABLE IF NOT EXISTS wfsim_journal (
        place INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, record TEXT NOT NULL
    )
"""
_INDEX = "CREATE INDEX IF NOT EXISTS wfsim_journal_by_key ON wfsim_journal (key, place)"
_APPEND = "INSERT INTO wfsim_journal (key, record) VALUES (?, ?)"
_READ = "SELECT record FROM wfsim_journal WHERE key = ? ORDER BY place"
_KEYS = "SELECT key FROM wfsim_journal GROUP BY key ORDER BY MIN(place)"


class SQLiteJournal:
    """A journal in an SQLite file, for production and for tests of what ships; ``":memory:"`` for no file.

    Each record is a transaction of its own, written ahead (WAL) and synced (``synchronous=FULL``), so that
    it is on the disk when ``append`` returns. Several processes of one machine may share the file: who finds
    it locked waits up to ``busy_timeout``.

    On a plain asyncio loop the database works in a thread. In a simulation it works in place, on the
    real file, while virtual time stands still; then an append passes the fault point "persist" (kind
    "journal", the key as name) and takes ``latency`` of virtual time before it writes.
    """

    def __init__(
        self, path: str | PathLike[str], *, latency: Duration = "1ms", busy_timeout: Duration = "5s"
    ) -> None:
        self.path = path
        self._latency_s = parse_duration(latency, "latency of the journal") / NS_PER_SECOND
        busy_s = parse_duration(busy_timeout, "busy_timeout of the journal") / NS_PER_SECOND
        self._lock = Lock()  # a connection serves one thread at a time; no wait of ours happens inside
        import sqlite3  # some Pythons are built without it, and need it no sooner than here

        self._connection = sqlite3.connect(path, timeout=busy_s, check_same_thread=False)
        with self._connection as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_TABLE)
            connection.execute(_INDEX)

    async def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Add a record to those of ``key``, durably. Raise DesignError if it is not plain JSON."""
        text = to_text(key, record)
        if current() is not None:
            await fault_point("persist", kind="journal", name=key)
            await sleep(self._latency_s)
        await _work(self._execute, _APPEND, (key, text))

    async def read(self, key: str) -> list[dict[str, Any]]:
        """Give the records of ``key`` in order."""
        return [json.loads(row[0]) for row in await _work(self._execute, _READ, (key,))]

    async def keys(self) -> list[str]:
        """Give every key that has a record, in the order of their first ones."""
        return [str(row[0]) for row in await _work(self._execute, _KEYS, ())]

    def close(self) -> None:
        """Close the database. What was appended is in the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _execute(self, statement: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        with self._lock, self._connection as connection:
            return connection.execute(statement, values).fetchall()

    def __repr__(self) -> str:
        return f"<SQLiteJournal {str(self.path)!r}>"


async def _work(fn: Callable[..., Any], *args: Any) -> Any:
    """Let the database work: in a thread, but in place inside a simulation, whose threads are not real."""
    if current() is not None:
        return fn(*args)
    return await asyncio.to_thread(fn, *args)
