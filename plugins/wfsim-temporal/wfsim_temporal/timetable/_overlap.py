"""What becomes of the actions of a schedule that are due while others run. Source: the server's ``buffer.go``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# ScheduleOverlapPolicy
SKIP: Final = 1
_BUFFER_ONE: Final = 2
_BUFFER_ALL: Final = 3
_CANCEL_OTHER: Final = 4
TERMINATE_OTHER: Final = 5
ALLOW_ALL: Final = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    """An action that is to be taken; ``is_manual`` if somebody asked for it, ``policy`` 0 for the schedule's own."""

    nominal_ns: int
    at_ns: int
    policy: int
    is_manual: bool


@dataclass(slots=True)
class Decision:
    """What to start beside all others, what alone, what to keep for later, and how to end what runs."""

    beside: list[Wanted] = field(default_factory=list)
    alone: Wanted | None = None
    kept: list[Wanted] = field(default_factory=list)
    skipped: int = 0
    ends_running: bool = False
    is_termination: bool = False

    def keep_apart(self, one: Wanted, policy: int, *, is_running: bool) -> None:
        """Decide about one that would overlap what runs, or what is about to."""
        if policy == _BUFFER_ALL or (policy == _BUFFER_ONE and not self.kept):
            self.kept.append(one)
        elif policy in {SKIP, _BUFFER_ONE}:
            self.skipped += 1
        elif is_running:
            self.ends_running = True
            self.is_termination |= policy == TERMINATE_OTHER
            self.kept.append(one)
        else:
            self.alone = one


def decide(buffer: list[Wanted], default: int, *, is_running: bool) -> Decision:
    """Decide about all that is due, in its order, by each one's policy or the schedule's own."""
    made = Decision()
    for one in buffer:
        policy = one.policy or default
        if policy == ALLOW_ALL:
            made.beside.append(one)
        elif made.alone is None and not is_running:
            made.alone = one
        else:
            made.keep_apart(one, policy, is_running=is_running)
    if made.ends_running:
        made.beside = []
    return made
