"""Expectations of the world: its effects, what is left of them, and whatever a checker knows to judge."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any, Self

from wfsim.checkers import Verdict, nothing_left_behind
from wfsim.errors import DesignError
from wfsim.history import plain_data
from wfsim.words._demand import Demands, compared
from wfsim.words._failure import Finding
from wfsim.words._reversals import learned
from wfsim.words._then_ends import unended
from wfsim.words._told import effects_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wfsim.history import History
    from wfsim.words._play import Scene
    from wfsim.words._told import Effect

    Checker = Callable[[History], Verdict]


class WorldWords(Demands, ABC):
    """What happened in the world."""

    def then_effects(
        self, *effects: str, in_order: bool = True, none_other: bool = True, key: Any = None
    ) -> Self:
        """Expect these effects in the world: in this order and none other, unless it is said otherwise.

        ``key`` speaks of the effects with that key alone.
        """
        __tracebackhide__ = True
        if not effects:
            raise DesignError(
                "then_effects() names no effect; if there is to be none, write then_no_effects()"
            )

        wanted = plain_data({"key": key})["key"]

        def look(scene: Scene) -> Finding | None:
            found = effects_in(scene.history, scene.since)
            if key is not None:
                found = tuple(one for one in found if one.key == wanted)
            return compared("effect", effects, found, _fits, in_order=in_order, none_other=none_other)

        return self._demand("then_effects", look)

    def then_no_effects(self, *effects: str) -> Self:
        """Expect that the world was left alone: no effect at all, or none of these."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            found = effects_in(scene.history, scene.since)
            wrong = [one for one in found if not effects or one.name in effects]
            return compared("effect", (), wrong, _fits, in_order=True, none_other=True)

        return self._demand("then_no_effects", look)

    def then_nothing_left_behind(
        self,
        reversals: Mapping[str, str | None] | None = None,
        *,
        by: str = "key",
        optional: Sequence[str] = (),
    ) -> Self:
        """Expect that each instance came to an end, and is whole or undone in the world.

        ``reversals``, ``by`` and ``optional`` are those of the checker ``nothing_left_behind``: for each effect the
        one that takes it back. Of a saga they need not be named: whatever happens in a step is taken back by what
        happens in its compensation, and to see that the saga is played a few times more, each step failing once.
        """
        __tracebackhide__ = True
        known = learned(self._scenes) if reversals is None else reversals

        def judge(history: History) -> Verdict:
            return nothing_left_behind(history, reversals=known, by=by, optional=optional)

        def look(scene: Scene) -> Finding | None:
            return unended(scene) or _objection(judge(scene.history), strict=scene.fault is None)

        return self._demand("then_nothing_left_behind", look)

    def then_holds(self, *checkers: Checker) -> Self:
        """Expect that each checker finds all well; one with options comes as ``partial(checker, ...)``.

        A checker that finds nothing to judge objects too, save at a failure point.
        """
        __tracebackhide__ = True
        if not checkers:
            raise DesignError("then_holds() needs a checker: then_holds(checkers.compensated_in_reverse)")
        for checker in checkers:

            def look(scene: Scene, judge: Checker = checker) -> Finding | None:
                return _objection(judge(scene.history), strict=scene.fault is None)

            self._demand(f"then_holds {getattr(checker, '__name__', 'checker')}", look)
        return self


def _objection(verdict: Verdict, *, strict: bool) -> Finding | None:
    if verdict.valid is True or (verdict.valid == "unknown" and not strict):
        return None
    doubt = " (nothing to judge)" if verdict.valid == "unknown" else ""
    return Finding(f"{verdict.message}{doubt}", ops=tuple(verdict.ops))


def _fits(expected: str, effect: Effect) -> bool:
    return expected == effect.name
