"""Storage: what outlives a crash.

A :class:`Journal` is all that a flow asks of it: append a record under a key, read the records of a key
back in order. :class:`MemoryJournal` writes to a simulated :class:`Disk`, which loses what was not synced
when its process crashes and may tear the last write; :class:`SQLiteJournal` is for real.
"""

from __future__ import annotations

from wfsim.storage._disk import Disk
from wfsim.storage._journal import Journal
from wfsim.storage._memory import MemoryJournal
from wfsim.storage._sqlite import SQLiteJournal

__all__ = ["Disk", "Journal", "MemoryJournal", "SQLiteJournal"]
