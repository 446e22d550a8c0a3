"""A ledger of the world: what happened, what was taken back, and what stands in the end.

These checkers ask no orchestrator. They read effects alone, so they judge a workflow of any make by the same
measure, and one that believes itself undone is found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - a scenario file is checked by the signatures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wfsim.checkers._effects import whose
from wfsim.checkers._runs import times
from wfsim.checkers._verdict import Findings, Verdict
from wfsim.errors import DesignError

if TYPE_CHECKING:
    from wfsim.history import History, Op


@dataclass(slots=True)
class _Account:
    """What happened to one thing, such as an order: its effects and their reversals, in order."""

    title: str
    entries: list[tuple[str, bool, Op]] = field(default_factory=list)
    """The effect's name, whether it was done (or undone), and the operation."""

    def standing(self, effect: str) -> list[Op]:
        """Give the times an effect was done and not undone since."""
        open_: list[Op] = []
        for name, done, op in self.entries:
            if name == effect and done:
                open_.append(op)
            elif name == effect and open_:
                open_.pop()
        return open_


def nothing_left_behind(
    history: History,
    *,
    reversals: Mapping[str, str | None],
    by: str = "key",
    optional: Sequence[str] = (),
) -> Verdict:
    """In the world each instance is whole or undone: all its effects stand, or none does.

    ``reversals`` names for each effect the one that takes it back: ``{"charge": "refund"}``; None for one that
    nothing takes back. An effect may stand once, and a reversal must come after what it takes back. Effects
    belong together if they have the same ``key``, or the same value of the field that ``by`` names; those
    without one belong to the run of the design, or else to the process, that they happened in.

    What is ``optional`` may be missing where the rest stands.
    """
    findings = Findings("nothing_left_behind")
    for account in _accounts(history, reversals, by):
        findings.judged += 1
        _judge_reversals(account, reversals, findings)
        standing = {effect: account.standing(effect) for effect in reversals}
        for effect, ops in standing.items():
            if len(ops) > 1:
                message = f"{account.title}: {effect!r} stands {times(len(ops))}"
                findings.breach(message, *(op.index for op in ops))
        missing = [effect for effect, ops in standing.items() if not ops and effect not in optional]
        left = [effect for effect, ops in standing.items() if ops]
        if left and missing:
            _report_half(account, left, missing, standing, findings)
    return findings.verdict("instance", "whole or undone", f"none of {_listed(reversals)} happened")


def _report_half(
    account: _Account,
    left: Sequence[str],
    missing: Sequence[str],
    standing: Mapping[str, Sequence[Op]],
    findings: Findings,
) -> None:
    ops = [op.index for effect in left for op in standing[effect]]
    undone = [name for name in missing if any(entry[0] == name for entry in account.entries)]
    never = [name for name in missing if name not in undone]
    parts = [f"{_listed(undone)} undone" if undone else "", f"{_listed(never)} never done" if never else ""]
    rest = " and ".join(part for part in parts if part)
    word = "stands" if len(left) == 1 else "stand"
    findings.breach(f"{account.title}: {_listed(left)} {word}, with {rest}", *ops)


def _judge_reversals(account: _Account, reversals: Mapping[str, str | None], findings: Findings) -> None:
    """Find each reversal that takes back what is not there."""
    open_ = dict.fromkeys(reversals, 0)
    for name, done, op in account.entries:
        if not done and not open_[name]:
            earlier = any(
                entry[0] == name and entry[1] and entry[2].index < op.index for entry in account.entries
            )
            why = "a second time" if earlier else "before it was done"
            findings.breach(f"{account.title}: {op.name!r} took back {name!r} {why}", op.index)
        else:
            open_[name] += 1 if done else -1


def reversed_in_order(
    history: History,
    *,
    reversals: Mapping[str, str | None],
    by: str = "key",
    depends_on: Mapping[str, Sequence[str]] | None = None,
) -> Verdict:
    """In the world, what was done last was taken back first.

    ``reversals`` and ``by`` are as in ``nothing_left_behind``. Where some effects do not build on each other,
    ``depends_on`` names for each effect those that it builds on: only what nothing builds on any more
    may then be taken back.
    """
    findings = Findings("reversed_in_order")
    for account in _accounts(history, reversals, by):
        findings.judged += any(not done for _, done, _ in account.entries)
        open_: list[tuple[str, Op]] = []
        for name, done, op in account.entries:
            if done:
                open_.append((name, op))
                continue
            mine = next((place for place in reversed(range(len(open_))) if open_[place][0] == name), None)
            if mine is None:
                continue
            above = [one for one in open_[mine + 1 :] if _builds_on(one[0], name, depends_on, reversals)]
            if above:
                later, its = above[-1]
                message = (
                    f"{account.title}: {op.name!r} took back {name!r} while {later!r}, done after it, stood"
                )
                findings.breach(message, its.index, op.index)
            del open_[mine]
    return findings.verdict("instance", "taken back in reverse order", "nothing was taken back")


def _builds_on(
    later: str,
    earlier: str,
    depends_on: Mapping[str, Sequence[str]] | None,
    reversals: Mapping[str, str | None],
) -> bool:
    """Tell whether one effect must be taken back before the other; what nothing takes back must not."""
    if reversals.get(later) is None:
        return False
    if depends_on is None:
        return True
    reached = list(depends_on.get(later, ()))
    for name in reached:  # grows while it is walked
        reached += [one for one in depends_on.get(name, ()) if one not in reached]
    return earlier in reached


def _accounts(history: History, reversals: Mapping[str, str | None], by: str) -> list[_Account]:
    """Sort the effects that the checker was told of into what they belong to."""
    undoes = _undoes(reversals)
    accounts: dict[tuple[object, ...], _Account] = {}
    for op in history.where(kind="effect"):
        effect = undoes.get(op.name, op.name)
        if effect in reversals:
            owner, title = whose(history, op, by)
            account = accounts.setdefault(owner, _Account(title))
            account.entries.append((effect, op.name not in undoes, op))
    return list(accounts.values())


def _undoes(reversals: Mapping[str, str | None]) -> dict[str, str]:
    if not reversals:
        raise DesignError("reversals is empty; name each effect and what takes it back: {'charge': 'refund'}")
    found: dict[str, str] = {}
    for effect, reversal in reversals.items():
        if reversal is not None and (reversal in found or reversal in reversals):
            raise DesignError(
                f"reversals: {reversal!r} takes back {effect!r} and is {_other(reversal, found)} too; "
                "give each effect a reversal of its own name"
            )
        if reversal is not None:
            found[reversal] = effect
    return found


def _other(reversal: str, found: Mapping[str, str]) -> str:
    return f"the reversal of {found[reversal]!r}" if reversal in found else "an effect"


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
