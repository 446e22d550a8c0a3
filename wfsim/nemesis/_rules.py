"""The nemesis of a run: it holds the rules and answers at each fault point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.errors import DesignError
from wfsim.kernel import current
from wfsim.nemesis._rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.kernel import FaultPoint, Stream
    from wfsim.nemesis._rule import RuleFault


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
        self._by_name: dict[
            str, tuple[_Armed, ...]
        ] = {}  # filled as names are met, so most points cost one look-up
        self._healed = False

    def ask(self, at: FaultPoint) -> RuleFault | None:
        """Give the fault that strikes at this point, or None."""
        armed = self._by_name.get(at.name)
        if armed is None:
            armed = self._arm(at.name)
        for place, one in enumerate(armed):
            if one.strikes(at):
                for other in armed[place + 1 :]:
                    other.matched += other.rule.fits_place(at)
                return one.rule.fault
        return None

    def _arm(self, name: str) -> tuple[_Armed, ...]:
        found = () if self._healed else tuple(one for one in self._armed if one.rule.speaks_of(name))
        self._by_name[name] = found
        return found

    def heal(self) -> None:
        """Strike no more: from here on the system gets the chance to settle."""
        self._healed = True
        self._by_name.clear()

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
        rule = self.rule
        if not rule.fits_place(at):
            return False
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
