"""A disk in memory that treats unsynced writes as badly as a real one does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import fault_point, sleep
from wfsim.storage._owner import Owner, owner
from wfsim.units import NS_PER_SECOND, Duration, parse_duration

if TYPE_CHECKING:
    from wfsim.kernel import Stream


@dataclass(frozen=True, slots=True)
class _Write:
    """A write that is in the machine's memory and not yet on the platter."""

    owner: Owner | None
    data: bytes
    replaces: bool

    def onto(self, content: bytes) -> bytes:
        return self.data if self.replaces else content + self.data

    def torn(self, at: int, content: bytes) -> _Write:
        """Give the write of the first bytes only; of a file to be replaced the rest of the old one remains."""
        data = self.data[:at] + (content[at:] if self.replaces else b"")
        return _Write(None, data, self.replaces)

    def settled(self) -> _Write:
        """Give the write as one that no crash can lose any more."""
        return _Write(None, self.data, self.replaces)


@dataclass(slots=True)
class _File:
    durable: bytes = b""
    pending: list[_Write] = field(default_factory=list)

    def content(self) -> bytes:
        found = self.durable
        for write in self.pending:
            found = write.onto(found)
        return found

    def make_durable(self, due: list[_Write]) -> None:
        """Put these writes, as far as a crash has not taken them meanwhile, on the platter."""
        for write in due:
            if any(one is write for one in self.pending):
                self.durable = write.onto(self.durable)
        self.pending = [one for one in self.pending if not any(one is write for write in due)]


class Disk:
    """Files that outlive a crash as far as they were synced, for use in a simulation.

    A write is seen by every reader at once, but it is only durable after ``sync``. When the process that
    wrote it crashes before, then of its unsynced writes each reaches the platter with the probability
    ``survives``, in order, up to the first that does not; that one is torn with the probability ``tears``: only
    its first bytes are there. The choice is the simulation's, by its seed. (T. S. Pillai and others, All File
    Systems Are Not Created Equal, OSDI 2014, is what real ones do.)

    ``sync`` passes the fault point "persist" (kind "disk", the disk's name as design, the file as name) when
    the data are written and not yet durable, and takes ``latency``.

    A disk is a thing of the world: make a new one for each run. Outside a simulation nothing crashes; it is
    then a dictionary of files in memory.
    """

    def __init__(
        self,
        name: str = "disk",
        *,
        latency: Duration = "1ms",
        survives: float = 0.5,
        tears: float = 0.5,
    ) -> None:
        self.name = name
        self._latency_s = parse_duration(latency, f"latency of disk {name!r}") / NS_PER_SECOND
        self._survives = _probability(survives, "survives", name)
        self._tears = _probability(tears, "tears", name)
        self._files: dict[str, _File] = {}
        self._owner: Owner | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that hold anything, in the order in which they were first written."""
        return tuple(name for name in self._files if self.read(name))

    def read(self, file: str) -> bytes:
        """Give the content of a file, unsynced writes included; nothing for one that was never written."""
        found = self._settled(file)
        return found.content()

    def append(self, file: str, data: bytes) -> None:
        """Add bytes at the end of a file. They are durable after the next ``sync``."""
        self._write(file, data, replaces=False)

    def write(self, file: str, data: bytes) -> None:
        """Replace the content of a file. It is durable after the next ``sync``."""
        self._write(file, data, replaces=True)

    def _write(self, file: str, data: bytes, *, replaces: bool) -> None:
        self._owner = owner(self._owner)
        self._settled(file).pending.append(_Write(self._owner, bytes(data), replaces))

    async def sync(self, file: str) -> None:
        """Make all that was written to a file so far durable."""
        found = self._settled(file)
        due = list(found.pending)
        await fault_point("persist", kind="disk", design=self.name, name=file)
        if self._latency_s:
            await sleep(self._latency_s)
        found.make_durable(due)

    # -- after a crash

    def _settled(self, file: str) -> _File:
        """Give a file after every crash so far has taken its toll."""
        found = self._files.setdefault(file, _File())
        if found.pending and any(
            write.owner is not None and write.owner.has_crashed for write in found.pending
        ):
            self._lose(found)
        return found

    def _lose(self, file: _File) -> None:
        """Let of the writes of crashed processes survive what chance lets survive."""
        written, file.pending = file.pending, []
        over: list[Owner] = []  # the lives of which nothing more reaches the platter
        for write in written:
            dead = write.owner
            if dead is None or not dead.has_crashed:
                file.pending.append(write)
            elif dead not in over:
                survivor = self._survivor(write, dead.simulation.stream(f"disk/{self.name}"), file.content())
                file.pending += [survivor] if survivor is not None else []
                over += [dead] if survivor is None or survivor.data != write.data else []

    def _survivor(self, write: _Write, stream: Stream, content: bytes) -> _Write | None:
        if stream.random() < self._survives:
            return write.settled()
        if len(write.data) < 2 or stream.random() >= self._tears:  # noqa: PLR2004 - one byte cannot be torn
            return None
        return write.torn(1 + stream.randrange(len(write.data) - 1), content)

    def __repr__(self) -> str:
        return f"<Disk {self.name!r}: {len(self._files)} files>"


def _probability(value: Any, option: str, disk: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DesignError(f"{option}={value!r} of disk {disk!r} must be a probability, from 0 to 1")
    return float(value)
