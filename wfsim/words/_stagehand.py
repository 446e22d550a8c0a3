"""The nemesis of a sentence: it waits for the curtain, and notes each fault point that is passed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from wfsim.kernel import current
from wfsim.nemesis import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.kernel import Decide, Fault
    from wfsim.nemesis import Rule

GIVEN: Final = "given"
"""The kind of fact that marks what had happened before."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One time that a fault point was passed."""

    point: str
    kind: str
    design: str
    name: str
    attempt: int
    process: str
    time_ns: int
    topic: str = ""
    subscriber: str = ""
    ends: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    is_own_doing: bool = False
    """Whether it was the sentence itself that passed, which is no failure point of the design."""

    @property
    def is_of_event(self) -> bool:
        """Whether an event passed here."""
        return bool(self.topic)


class Stagehand(Rules):
    """Rules that strike only once what the sentence takes as given has happened."""

    def __init__(self, rules: Iterable[Rule], done: Iterable[str] = ()) -> None:
        super().__init__(rules)
        self.passed: list[Passage] = []
        self._done = tuple(done)
        self._missing = list(self._done)
        self._begun = False
        self.is_own_doing = False
        """Whether what passes now is the sentence's own doing."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The steps that should have been done before and were not."""
        return tuple(self._missing)

    def begin(self) -> None:
        """What comes now is to be watched, as soon as the steps that are given have been done."""
        self._begun = True

    def decider(self, point: str, kind: str, design: str, name: str, /) -> Decide:
        """Give who decides at this place: the rules, once the time has come."""
        return self._watch(super().decider(point, kind, design, name), (point, kind, design, name))

    def decider_of_event(self, point: str, kind: str, design: str, name: str, at: object, /) -> Decide:
        """Give who decides at this place of an event."""
        found = super().decider_of_event(point, kind, design, name, at)  # type: ignore[arg-type]
        event = tuple(getattr(at, field) for field in ("topic", "subscriber", "ends"))
        return self._watch(found, (point, kind, design, name), event)

    def _watch(
        self, decide: Decide | None, where: tuple[str, str, str, str], event: tuple[object, ...] = ()
    ) -> Decide:
        point, kind, _, name = where

        def watched(attempt: int, process: str, time_ns: int, /) -> Fault | None:
            if not self._begun or self._missing:
                if self._begun and point == "reply" and kind != "compensate":
                    self._tick_off(name)
                return None
            passage = Passage(*where, attempt, process, time_ns, *event)  # type: ignore[arg-type]
            self.passed.append(replace(passage, is_own_doing=self.is_own_doing and point == "publish"))
            return None if decide is None else decide(attempt, process, time_ns)

        return watched

    def _tick_off(self, name: str) -> None:
        if name not in self._missing:
            return
        self._missing.remove(name)
        simulation = current()
        if not self._missing and simulation is not None:
            words = f"{', '.join(self._done)} done"
            simulation.recorder.event(GIVEN, "", words, "main", data={"done": list(self._done)})
