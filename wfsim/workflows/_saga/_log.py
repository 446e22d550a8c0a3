"""How far an instance of a saga has come, in memory and in its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.history import describe_error
from wfsim.kernel import fault_point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.storage import Journal


@dataclass(slots=True)
class Progress:
    """What the records of an instance add up to."""

    given: Any = None
    steps: list[str] | None = None
    """The steps that the saga had when the instance began; None if it has not begun."""
    began_ns: int | None = None
    """When it began, on the wall clock; None if nobody has to know."""
    begun: dict[str, None] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    turned: dict[str, Any] | None = None
    """Why the saga turned back: the step and its error; None while it goes forward."""
    compensating: dict[str, None] = field(default_factory=dict)
    compensated: dict[str, None] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    ended: str | None = None
    """"completed" or "undone", None while there is something left to do."""
    seen: dict[str, int] = field(default_factory=dict)
    """Which version of each record a step has read."""

    def apply(self, record: Mapping[str, Any]) -> None:
        """Take one record into account."""
        getattr(self, f"_{record['what']}")(record.get("step", ""), record)

    def _started(self, _step: str, record: Mapping[str, Any]) -> None:
        self.given, self.steps = record.get("input"), list(record["steps"])
        self.began_ns = record.get("began_ns")

    def _begun(self, step: str, record: Mapping[str, Any]) -> None:
        self.begun[step] = None
        self.failed.pop(step, None)
        self.seen |= record.get("seen", {})

    def _done(self, step: str, record: Mapping[str, Any]) -> None:
        self.done[step] = record.get("value")

    def _failed(self, step: str, record: Mapping[str, Any]) -> None:
        self.failed[step] = dict(record)

    def _turned(self, _step: str, record: Mapping[str, Any]) -> None:
        self.turned, self.ended = dict(record), None

    def _compensating(self, step: str, _record: Mapping[str, Any]) -> None:
        self.compensating[step] = None

    def _compensated(self, step: str, _record: Mapping[str, Any]) -> None:
        self.compensated[step] = None
        self.stuck.pop(step, None)

    def _stuck(self, step: str, record: Mapping[str, Any]) -> None:
        self.stuck[step] = record["error"]

    def _completed(self, _step: str, _record: Mapping[str, Any]) -> None:
        self.ended = "completed"

    def _undone(self, _step: str, _record: Mapping[str, Any]) -> None:
        self.ended = "undone"


class Log:
    """Writes what happens before it happens and after it has, and reads it back after a crash.

    Each record passes two fault points, of the kind of the record ("begun", "done", "compensating", ...), with the
    saga as design and the step as name: "journal" before it is written, "journalled" when it is durable. A crash
    at "journal" of a "done" falls between the effect and the journal.

    Without a journal the progress is in memory only.
    """

    def __init__(self, journal: Journal | None, design: str, key: str) -> None:
        self.progress = Progress()
        self.journal = journal
        self._design = design
        self._file = f"{design}/{key}"

    async def load(self) -> Progress:
        """Read what an earlier life has written."""
        if self.journal is not None:
            for record in await self.journal.read(self._file):
                self.progress.apply(record)
        return self.progress

    async def write(self, what: str, step: str = "", **more: Any) -> None:
        """Write a record. In memory it counts at once: what is done is done, even if the journal fails."""
        record = {"what": what, **({"step": step} if step else {}), **more}
        self.progress.apply(record)
        if self.journal is None:
            return
        name = step or self._design
        await fault_point("journal", kind=what, design=self._design, name=name)
        try:
            await self.journal.append(self._file, record)
        except DesignError as error:
            error.add_note(
                f"a saga with a journal keeps its input and the result of each step ({name!r}) in it"
            )
            raise
        await fault_point("journalled", kind=what, design=self._design, name=name)


def in_words(error: BaseException) -> str:
    """Write an error down in one line, as the journal keeps it."""
    told = describe_error(error)
    kind = told["error"].rpartition(".")[2]
    return f"{kind}: {told['message']}" if told["message"] else kind
