"""Whether workflows that run side by side got in each other's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._effects import instance_around
from wfsim.checkers._runs import design_runs
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from wfsim.history import History, Op


def no_lost_update(history: History, *, read: str, write: str) -> Verdict:
    """Nobody overwrote what another had written since he read it.

    ``read`` and ``write`` are the names of the effects by which the design tells that it read, and changed, a
    record; their key is the record. Who did so is the run of the design that it happened in, or else the
    process. (H. Berenson and others, A Critique of ANSI SQL Isolation Levels, 1995: P4.)
    """
    findings = Findings("no_lost_update")
    reads: dict[tuple[object, str], Op] = {}
    writes: dict[str, list[tuple[object, Op]]] = {}
    for op in history.where(kind="effect"):
        record, who = repr(op.data.get("key")), instance_around(history, op)
        if op.name == read:
            reads[who, record] = op
        if op.name == write:
            before = reads.get((who, record))
            findings.judged += before is not None
            for other, its in writes.get(record, ()):
                if before is not None and other != who and before.index < its.index:
                    message = f"the write of {record} at {its.name!r} in {its.process} was lost"
                    because = f"{op.process} had read the record before it and overwrote it"
                    findings.breach(f"{message}: {because}", before.index, its.index, op.index)
            writes.setdefault(record, []).append((who, op))
            reads[who, record] = op  # who has written it knows what it holds
    return findings.verdict("write", "what was read was still true", f"nothing was {write!r} after {read!r}")


def locks_respected(history: History, *, table: str | None = None) -> Verdict:
    """No record was held by two sagas at once, and whoever is over has given back what it held.

    ``table`` names the lock table to judge, all if None.
    """
    findings = Findings("locks_respected")
    holders: dict[tuple[str, str], tuple[str, int]] = {}
    for op in history:
        record = (op.design, op.name)
        if table is not None and op.design != table:
            continue
        if op.kind == "unlock":
            holders.pop(record, None)
        elif op.kind == "lock" and op.type == "ok" and op.invoke is not None:
            findings.judged += 1
            holder = str(history[op.invoke].data.get("holder"))
            other = holders.get(record)
            if other is not None and other[0] != holder:
                message = f"{op.design}: {holder!r} took record {op.name!r} while {other[0]!r} held it"
                findings.breach(message, other[1], op.index)
            holders[record] = (holder, op.index)
    over = {
        f"{run.whole.design}/{run.key}": run.whole.completion
        for run in design_runs(history, "saga")
        if run.is_over
    }
    for (where, name), (holder, taken) in holders.items():
        if holder in over:
            message = f"{where}: {holder!r} is over and still holds record {name!r}"
            findings.breach(message, taken, over[holder])
        else:
            findings.doubt(
                f"{where}: record {name!r} is still held by {holder!r}, which has not ended", taken
            )
    return findings.verdict("lock", "held by one saga at a time, and given back", "no record was locked")
