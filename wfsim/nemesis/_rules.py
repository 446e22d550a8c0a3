"""The nemesis of a run: it holds the rules and answers at each fault point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from wfsim.errors import DesignError
from wfsim.kernel import current
from wfsim.nemesis._rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wfsim.kernel import Decide, FaultPoint
    from wfsim.nemesis._rule import EventPlace, RuleFault


_AHEAD: Final = 64


class Rules:
    """Rules in their order: of those that fit a fault point, the first whose fault strikes is the answer.

    It counts, so make a new one for each run. Chance comes from one stream for each rule (``nemesis/0``,
    ``nemesis/1``, ...): a rule more or less changes nothing for the others.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        if isinstance(rules, Rule):
            raise DesignError(
                "faults are a list of rules, also where there is only one: faults=[fail('charge')]"
            )
        self.rules = tuple(rules)
        for rule in self.rules:
            if not isinstance(rule, Rule):
                raise DesignError(
                    f"{rule!r} is no rule; write for example fail('charge') or Rule(Hang(), step='charge')"
                )
        self._armed = [_Armed(rule, index) for index, rule in enumerate(self.rules)]

    def decider(self, point: str, kind: str, design: str, name: str, /) -> Decide | None:
        """Give who decides at this place: the rules that fit it, in their order; None if there is none."""
        fitting = [one for one in self._armed if one.rule.fits_place(point, kind, design, name)]
        return _in_order([one for one in fitting if not one.rule.is_of_events])

    def decider_of_event(
        self, point: str, kind: str, design: str, name: str, at: EventPlace, /
    ) -> Decide | None:
        """Give who decides at this place of an event: also rules that speak of events alone."""
        fitting = [one for one in self._armed if one.rule.fits_place(point, kind, design, name)]
        return _in_order([one for one in fitting if one.rule.fits_event(at)])

    def ask(self, at: FaultPoint) -> RuleFault | None:
        """Give the fault that strikes at this point, or None: the same, asked for one point alone."""
        decide = self.decider(at.point, at.kind, at.design, at.name)
        if decide is None:
            return None
        return cast("RuleFault | None", decide(at.attempt, at.process, at.time_ns))

    def heal(self) -> None:
        """Strike no more: from here on the system gets the chance to settle."""
        for one in self._armed:
            one.heal()

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


def _in_order(armed: list[_Armed]) -> Decide | None:
    """Give who decides where these rules fit: the first whose fault strikes."""
    if len(armed) <= 1:
        return armed[0].decide if armed else None

    def decide(attempt: int, process: str, time_ns: int, /) -> RuleFault | None:
        for number, one in enumerate(armed):
            fault = one.decide(attempt, process, time_ns)
            if fault is not None:
                for other in armed[number + 1 :]:
                    other.passed += other.rule.fits_process(process)
                return fault
        return None

    return decide


class _Armed:
    """A rule in a run, and what it has done so far."""

    __slots__ = (
        "_calm",
        "_fault",
        "_healed",
        "_is_bounded",
        "_name",
        "_probability",
        "_random",
        "_spares",
        "_strikes_next",
        "passed",
        "rule",
        "struck",
    )

    def __init__(self, rule: Rule, index: int) -> None:
        self.rule = rule
        self.passed = 0
        self.struck = 0
        self._healed = False
        self._fault = rule.fault
        limits = (rule.attempt, rule.after, rule.before, rule.count, rule.process)
        self._is_bounded = rule.skip > 0 or any(limit is not None for limit in limits)
        self._spares = rule.skip
        self._probability = rule.probability
        self._name = f"nemesis/{index}"
        self._random: Callable[[], float] | None = self._first_draw if rule.probability < 1 else None
        # Chance is drawn ahead: so many more times the rule lets pass, already counted, and then it may strike.
        self._calm = 0
        self._strikes_next = False

    @property
    def matched(self) -> int:
        """How many fault points it spoke of."""
        return self.passed - self._calm

    def heal(self) -> None:
        """Strike no more."""
        self.passed, self._calm = self.matched, 0
        self._healed = self._is_bounded = True

    def decide(self, attempt: int, process: str, time_ns: int, /) -> RuleFault | None:
        """Give the fault if the rule, which fits the place, strikes there this time."""
        if self._calm:
            self._calm -= 1
            return None
        if self._is_bounded:
            if not self._is_due(attempt, process, time_ns):
                return None
        else:
            self.passed += 1
        if self._random is not None and not self._has_luck(self._random):
            return None
        if self._spares:
            self._spares -= 1
            return None
        self.struck += 1
        return self._fault

    def _has_luck(self, random: Callable[[], float]) -> bool:
        if self._is_bounded:
            return random() < self._probability
        if not self._strikes_next:  # every pass is a draw, so those to come can be drawn now
            calm, probability = 0, self._probability
            while random() >= probability:
                calm += 1
                if calm == _AHEAD:
                    break
            else:
                self._strikes_next = True
            if calm:
                self._calm = calm - 1
                self.passed += calm - 1
                return False
        self._strikes_next = False
        return True

    def _is_due(self, attempt: int, process: str, time_ns: int) -> bool:
        rule = self.rule
        if self._healed or not rule.fits_process(process):
            return False
        self.passed += 1
        attempts = (rule.attempt,) if isinstance(rule.attempt, int) else rule.attempt
        after_ns, before_ns = rule.window_ns
        return (
            (attempts is None or attempt in attempts)
            and after_ns <= time_ns < before_ns
            and (rule.count is None or self.struck < rule.count)
        )

    def _first_draw(self) -> float:
        simulation = current()
        if simulation is None:
            raise DesignError(
                "a fault with a probability draws from a simulation; outside of one there is no chance"
            )
        self._random = simulation.stream(self._name).random
        return self._random()
