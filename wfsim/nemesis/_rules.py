"""The nemesis of a run: it holds the rules and answers at each fault point."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from wfsim.errors import DesignError
from wfsim.kernel import current
from wfsim.nemesis._rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.kernel import FaultPoint, Stream
    from wfsim.nemesis._rule import RuleFault

_GLOB: Final = re.compile(r"[*?\[]")


class Rules:
    """Rules in their order: of those that fit a fault point, the first whose fault strikes is the answer.

    It counts, so make a new one for each run. Chance comes from one stream for each rule (``nemesis/0``,
    ``nemesis/1``, ...): a rule more or less changes nothing for the others.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise DesignError(
                    f"{rule!r} is no rule; write for example fail('charge') or Rule(Hang(), step='charge')"
                )
        self._armed = [_Armed(rule, index) for index, rule in enumerate(self.rules)]
        # Filled as places are met, so that most points cost one look-up.
        self._watched: dict[str, tuple[str, ...]] = {}
        self._at: dict[tuple[str, ...], tuple[_Armed, ...]] = {}
        self._healed = False

    def watches(self, name: str) -> tuple[str, ...]:
        """Give the points of the operations of this name at which a rule of this run could strike."""
        watched = self._watched.get(name)
        if watched is None:
            rules = () if self._healed else [one.rule for one in self._armed if one.rule.speaks_of(name)]
            points = tuple(dict.fromkeys(rule.point or rule.fault.point for rule in rules))
            watched = self._watched[name] = _Points(points) if _GLOB.search("".join(points)) else points
        return watched

    def ask(self, at: FaultPoint) -> RuleFault | None:
        """Give the fault that strikes at this point, or None."""
        place = (at.point, at.kind, at.design, at.name, at.process)
        armed = self._at.get(place)
        if armed is None:
            armed = self._arm(place, at)
        for number, one in enumerate(armed):
            if one.strikes(at):
                for other in armed[number + 1 :]:
                    other.matched += 1
                return one.rule.fault
        return None

    def _arm(self, place: tuple[str, ...], at: FaultPoint) -> tuple[_Armed, ...]:
        found = () if self._healed else tuple(one for one in self._armed if one.rule.fits_place(at))
        self._at[place] = found
        return found

    def heal(self) -> None:
        """Strike no more: from here on the system gets the chance to settle."""
        self._healed = True
        self._watched.clear()
        self._at.clear()

    @property
    def matched(self) -> tuple[int, ...]:
        """For each rule, how many fault points it spoke of, whatever their time and attempt.

        Zero means that the run had no such place: most likely a name is misspelt.
        """
        return tuple(one.matched for one in self._armed)

    @property
    def struck(self) -> tuple[int, ...]:
        """For each rule, how many times its fault struck."""
        return tuple(one.struck for one in self._armed)

    def unmatched(self) -> tuple[Rule, ...]:
        """Give the rules that spoke of no fault point of the run."""
        return tuple(one.rule for one in self._armed if not one.matched)

    def __repr__(self) -> str:
        return f"<Rules: {len(self.rules)}, struck {sum(self.struck)} times>"


class _Points(tuple[str, ...]):
    """The points that fit one of these patterns."""

    __slots__ = ()

    def __contains__(self, point: object) -> bool:
        return any(fnmatchcase(str(point), pattern) for pattern in self)


class _Armed:
    """A rule in a run, and what it has done so far."""

    __slots__ = ("_after_ns", "_attempts", "_before_ns", "_index", "_stream", "matched", "rule", "struck")

    def __init__(self, rule: Rule, index: int) -> None:
        self.rule = rule
        self.matched = 0
        self.struck = 0
        self._index = index
        self._after_ns, self._before_ns = rule.window_ns
        self._attempts = (rule.attempt,) if isinstance(rule.attempt, int) else rule.attempt
        self._stream: Stream | None = None

    def strikes(self, at: FaultPoint) -> bool:
        """Tell whether the rule, which fits the place, strikes there this time."""
        rule = self.rule
        self.matched += 1
        if (
            (self._attempts is not None and at.attempt not in self._attempts)
            or not self._after_ns <= at.time_ns < self._before_ns
            or (rule.count is not None and self.struck >= rule.count)
            or (rule.probability < 1 and self._draw() >= rule.probability)
        ):
            return False
        self.struck += 1
        return True

    def _draw(self) -> float:
        if self._stream is None:
            simulation = current()
            if simulation is None:
                raise DesignError(
                    "a fault with a probability draws from a simulation; outside of one there is no chance"
                )
            self._stream = simulation.stream(f"nemesis/{self._index}")
        return self._stream.random()
