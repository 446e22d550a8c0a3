"""Semantic locks: a saga has no isolation, so it marks the records that it is about to change.

The lock is a thing of the application, not of a database: it is held from the step that takes it until the saga
has completed or is compensated, over crashes too. (C. Richardson, Microservices Patterns, 2018, chapter 4:
semantic lock, reread value; after L. Frank and T. U. Zahle, Semantic ACID properties in multidatabases, 1998.)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from wfsim.errors import DesignError, RecordLocked, StaleRecord
from wfsim.kernel import event
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._naming import checked_name
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.workflows._saga._context import Context

WhenLocked = Literal["wait", "fail", "reread"]

_WHEN_LOCKED: Final = ("wait", "fail", "reread")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a step does with records of a table: ``LockTable.lock`` and ``LockTable.read`` make it."""

    table: LockTable
    record: str | Callable[[Context], Any]
    when_locked: WhenLocked | None
    timeout_s: float | None = None

    def records(self, context: Context) -> list[str]:
        """Give the names of the records, sorted: all who take several take them in one order."""
        found = self.record if isinstance(self.record, str) else self.record(context)
        several = found if isinstance(found, list | tuple | set | frozenset) else [found]
        return sorted(str(one) for one in several)


class LockTable:
    """Which saga holds which record. It outlives the sagas, as the records themselves do.

    ::

        accounts = LockTable("accounts")
        saga.add_step("withdraw", forward=..., compensate=..., locks=accounts.lock(lambda c: c.input["from"]))

    Make a new one for each run. The same saga instance may take a record again, also after a crash.
    """

    def __init__(self, name: str = "records") -> None:
        self.name = checked_name(name, "a lock table")
        self._holders: dict[str, str] = {}
        self._versions: dict[str, int] = {}
        self._wanted: dict[tuple[str, str], None] = {}  # by whom, what
        self._lines: dict[str, tuple[object, asyncio.Condition]] = {}

    def lock(
        self,
        record: str | Callable[[Context], Any],
        *,
        when_locked: WhenLocked = "wait",
        timeout: Duration | None = None,
    ) -> Claim:
        """Give what a step's ``locks=`` wants: hold ``record`` from this step on until the saga is over.

        ``record`` is a name, or a function from the step's context to a name or several. If another saga
        holds it, ``when_locked`` says what to do:

        - "wait": wait for it, at most ``timeout``, then raise RecordLocked. Where sagas would wait for each
          other in a circle, the one that would close it raises RecordLocked at once.
        - "fail": raise RecordLocked at once; the step's retry, if any, may try again.
        - "reread": wait likewise; then raise StaleRecord if another saga has changed the record since this one
          read it in an earlier step (``reads=``).
        """
        if when_locked not in _WHEN_LOCKED:
            allowed = ", ".join(_WHEN_LOCKED)
            raise DesignError(
                f"lock table {self.name!r}: when_locked={when_locked!r} is unknown; allowed: {allowed}"
            )
        if timeout is not None and when_locked == "fail":
            raise DesignError(f"lock table {self.name!r}: a lock that fails at once needs no timeout")
        self._check(record)
        if timeout is None:
            return Claim(self, record, when_locked, None)
        limit_ns = parse_duration(timeout, f"timeout of a lock of {self.name!r}")
        return Claim(self, record, when_locked, limit_ns / NS_PER_SECOND)

    def read(self, record: str | Callable[[Context], Any]) -> Claim:
        """Give what a step's ``reads=`` wants: note which version of ``record`` this saga has read."""
        self._check(record)
        return Claim(self, record, None)

    def _check(self, record: object) -> None:
        if isinstance(record, str):
            checked_name(record, f"a record of lock table {self.name!r}")
        elif not takes(record, f"the record of lock table {self.name!r}").fits(1):
            raise DesignError(
                f"the record of lock table {self.name!r} must be a name, or a function of the context"
            )

    def holder(self, record: str) -> str | None:
        """Tell which saga instance holds a record; None if it is free."""
        return self._holders.get(record)

    @property
    def held(self) -> dict[str, str]:
        """The records that are held, each with its holder."""
        return dict(self._holders)

    def version(self, record: str) -> int:
        """Tell how many sagas have completed that held the record."""
        return self._versions.get(record, 0)

    # -- what a saga does with it

    async def take(self, record: str, holder: str, claim: Claim, seen: int | None) -> None:
        """Hold a record, as the claim says. Taking it again changes nothing."""
        if self._holders.get(record) == holder:
            return
        if record in self._holders:
            if claim.when_locked == "fail":
                raise RecordLocked(record, self._holders[record])
            await self._wait(record, holder, claim.timeout_s)
        if claim.when_locked == "reread" and seen is not None and seen != self.version(record):
            raise StaleRecord(record)
        self._holders[record] = holder

    async def _wait(self, record: str, holder: str, timeout_s: float | None) -> None:
        self._refuse_circle(record, holder)
        self._wanted[holder, record] = None
        try:
            async with asyncio.timeout(timeout_s):
                line = self._line(record)
                async with line:
                    await line.wait_for(lambda: record not in self._holders)
        except TimeoutError:
            raise RecordLocked(record, self._holders.get(record, "another"), "waited too long") from None
        finally:
            self._wanted.pop((holder, record), None)

    def _refuse_circle(self, record: str, holder: str) -> None:
        """Raise RecordLocked if whoever holds the record waits, directly or not, for this saga."""
        chain, reached = [holder], [self._holders[record]]
        for other in reached:  # grows while it is walked
            chain.append(other)
            if other == holder:
                raise RecordLocked(
                    record, self._holders[record], f"they wait for each other: {' -> '.join(chain)}"
                )
            wanted = [name for who, name in self._wanted if who == other]
            following = [self._holders[name] for name in wanted if name in self._holders]
            reached += [one for one in following if one not in reached]

    def _line(self, record: str) -> asyncio.Condition:
        """Give the condition that waits for the record; one of the loop that runs now."""
        loop = asyncio.get_running_loop()
        known = self._lines.get(record)
        if known is None or known[0] is not loop:
            known = self._lines[record] = (loop, asyncio.Condition())
        return known[1]

    async def give_back(self, record: str, holder: str, *, changed: bool) -> None:
        """Let go of a record; ``changed`` says whether others must read it again."""
        if self._holders.get(record) != holder:
            return
        del self._holders[record]
        if changed:
            self._versions[record] = self.version(record) + 1
        event("unlock", record, design=self.name, data={"holder": holder})
        if record in self._lines:
            line = self._line(record)
            async with line:
                line.notify_all()

    def __repr__(self) -> str:
        return f"<LockTable {self.name!r}: {len(self._holders)} held>"
