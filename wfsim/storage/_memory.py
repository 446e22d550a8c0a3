"""A journal on a simulated disk, as an engine would write one on a real disk."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from wfsim.storage._disk import Disk
from wfsim.storage._journal import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD = 8  # bytes: the length of the record and its checksum, four each


class MemoryJournal:
    """A journal on a :class:`Disk`: a file for each key, a frame for each record.

    A frame is the record's length, its CRC-32 and its JSON text. A crash may leave half a frame at the end
    of a file; it is recognised by its length or checksum and dropped, as if it had never been written. So a
    record is either there as a whole or not at all.

    ``append`` syncs before it returns, unless ``sync=False`` (the mistake of many a log): then a
    crash takes what the disk had not yet written.
    """

    def __init__(self, disk: Disk | None = None, *, sync: bool = True) -> None:
        self.disk = Disk() if disk is None else disk
        self._sync = sync

    async def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Add a record to those of ``key``, durably. Raise DesignError if it is not plain JSON."""
        data = to_text(key, record).encode()
        self._cut_torn_tail(key)
        self.disk.append(key, len(data).to_bytes(4) + zlib.crc32(data).to_bytes(4) + data)
        if self._sync:
            await self.disk.sync(key)

    async def read(self, key: str) -> list[dict[str, Any]]:
        """Give the records of ``key`` that are whole, in order."""
        return [json.loads(data) for data in _frames(self.disk.read(key))]

    async def keys(self) -> list[str]:
        """Give every key that has a record, in the order of their first ones."""
        return [file for file in self.disk.files if any(_frames(self.disk.read(file)))]

    def _cut_torn_tail(self, key: str) -> None:
        """Remove half a frame, behind which nothing more would be found."""
        content = self.disk.read(key)
        whole = sum(_HEAD + len(data) for data in _frames(content))
        if whole < len(content):
            self.disk.write(key, content[:whole])

    def __repr__(self) -> str:
        return f"<MemoryJournal on {self.disk!r}>"


def _frames(content: bytes) -> Iterator[bytes]:
    """Yield the text of each record up to the first frame that is cut short or damaged."""
    at = 0
    while at + _HEAD <= len(content):
        size = int.from_bytes(content[at : at + 4])
        data = content[at + _HEAD : at + _HEAD + size]
        if len(data) < size or zlib.crc32(data) != int.from_bytes(content[at + 4 : at + _HEAD]):
            return
        yield data
        at += _HEAD + size
