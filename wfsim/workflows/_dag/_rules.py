"""Trigger rules: whether a task runs, given how the tasks that it depends on ended.

Names and meaning are Apache Airflow's (`airflow.task.trigger_rule`, evaluated by `TriggerRuleDep`). A rule is
asked whenever one more of these tasks has ended, and may decide before all of them have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

State: TypeAlias = Literal["success", "failed", "skipped", "upstream_failed", "cancelled"]
"""How a task ended. The first four are Airflow's; who is cancelled counts as failed for those who wait."""

TriggerRule: TypeAlias = Literal[
    "all_success",
    "all_failed",
    "all_done",
    "all_skipped",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "all_done_min_one_success",
    "all_done_setup_success",
    "always",
]

Decision: TypeAlias = Literal["wait", "run", "skipped", "upstream_failed"]


class Tally:
    """How many of the ``expected`` tasks ended how; the setups among them are counted once more."""

    __slots__ = (
        "expected",
        "failed",
        "setups",
        "setups_skipped",
        "setups_success",
        "skipped",
        "success",
        "upstream_failed",
    )

    def __init__(self, expected: int, setups: int = 0) -> None:
        self.expected = expected
        self.setups = setups
        self.success = self.failed = self.skipped = self.upstream_failed = 0
        self.setups_success = self.setups_skipped = 0

    @property
    def bad(self) -> int:
        """How many failed, or could not run because something before them failed."""
        return self.failed + self.upstream_failed

    @property
    def done(self) -> bool:
        """Whether all have ended."""
        return self.success + self.failed + self.skipped + self.upstream_failed >= self.expected

    def count(self, state: State, *, is_setup: bool = False) -> None:
        """Count one more that ended."""
        name = "failed" if state == "cancelled" else state
        setattr(self, name, getattr(self, name) + 1)
        if is_setup:
            self.setups_success += state == "success"
            self.setups_skipped += state == "skipped"


def decide(rule: TriggerRule, tally: Tally) -> Decision:
    """Tell what becomes of a task with this rule; ``wait`` if that is still open."""
    return "run" if not tally.expected else _RULES[rule](tally)


def _all_success(tally: Tally) -> Decision:
    if tally.bad:
        return "upstream_failed"
    if tally.skipped:
        return "skipped"
    return "run" if tally.done else "wait"


def _all_failed(tally: Tally) -> Decision:
    if tally.success or tally.skipped:
        return "skipped"
    return "run" if tally.done else "wait"


def _all_done(tally: Tally) -> Decision:
    return "run" if tally.done else "wait"


def _all_skipped(tally: Tally) -> Decision:
    if tally.success or tally.bad:
        return "skipped"
    return "run" if tally.done else "wait"


def _one_success(tally: Tally) -> Decision:
    if tally.success:
        return "run"
    if not tally.done:
        return "wait"
    return "upstream_failed" if tally.bad else "skipped"


def _one_failed(tally: Tally) -> Decision:
    if tally.bad:
        return "run"
    return "skipped" if tally.done else "wait"


def _one_done(tally: Tally) -> Decision:
    if tally.success or tally.failed:
        return "run"
    return "skipped" if tally.done else "wait"


def _none_failed(tally: Tally) -> Decision:
    if tally.bad:
        return "upstream_failed"
    return "run" if tally.done else "wait"


def _none_failed_min_one_success(tally: Tally) -> Decision:
    if tally.skipped == tally.expected:
        return "skipped"
    return _none_failed(tally)


def _none_skipped(tally: Tally) -> Decision:
    if tally.skipped:
        return "skipped"
    return "run" if tally.done else "wait"


def _all_done_min_one_success(tally: Tally) -> Decision:
    if tally.skipped:
        return "skipped"
    if not tally.done:
        return "wait"
    return "run" if tally.success else "upstream_failed"


def _all_done_setup_success(tally: Tally) -> Decision:
    if not tally.done:
        return "wait"
    if tally.setups and not tally.setups_success:
        return "skipped" if tally.setups_skipped == tally.setups else "upstream_failed"
    return "run"


def _always(_tally: Tally) -> Decision:
    return "run"


_RULES: Final[dict[TriggerRule, Callable[[Tally], Decision]]] = {
    "all_success": _all_success,
    "all_failed": _all_failed,
    "all_done": _all_done,
    "all_skipped": _all_skipped,
    "one_success": _one_success,
    "one_failed": _one_failed,
    "one_done": _one_done,
    "none_failed": _none_failed,
    "none_failed_min_one_success": _none_failed_min_one_success,
    "none_skipped": _none_skipped,
    "all_done_min_one_success": _all_done_min_one_success,
    "all_done_setup_success": _all_done_setup_success,
    "always": _always,
}

TRIGGER_RULES: Final = tuple(_RULES)
"""The names of all rules."""
