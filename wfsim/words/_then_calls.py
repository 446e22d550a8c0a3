"""Expectations of what was called, and of the way back."""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from wfsim.errors import DesignError
from wfsim.words._calls import calls_of, expected_call
from wfsim.words._demand import Demands, compared
from wfsim.words._names import check_arguments, check_calls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wfsim.words._calls import Call, Called, ExpectedCall
    from wfsim.words._failure import Finding
    from wfsim.words._play import Scene


class CallWords(Demands, ABC):
    """What the design called, and what it compensated."""

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls of the (healthy) run, in order: for what no word says."""
        return calls_of(self._scenes[0].history, self._scenes[0].since)

    def then_called(
        self, *calls: ExpectedCall, in_order: bool = True, none_other: bool = True, key: str | None = None
    ) -> Self:
        """Expect these calls: in this order and none other, unless it is said otherwise.

        A call is named as in the timeline, ``"charge"`` or ``"compensate charge"``; ``called("charge",
        attempts=3)`` says more. All tries of one call count as one. ``key`` names the instance.
        """
        __tracebackhide__ = True
        expected = self._checked_calls(calls, "then_called", "then_nothing_called()")

        def look(scene: Scene) -> Finding | None:
            found = _telling(_of(calls_of(scene.history, scene.since), key), expected)
            return compared("call", expected, found, _fits, in_order=in_order, none_other=none_other)

        return self._demand("then_called", look)

    def then_not_called(self, *calls: ExpectedCall, key: str | None = None) -> Self:
        """Expect that none of these was called."""
        __tracebackhide__ = True
        unwanted = self._checked_calls(calls, "then_not_called", "then_nothing_called()")

        def look(scene: Scene) -> Finding | None:
            found = _telling(_of(calls_of(scene.history, scene.since), key), unwanted)
            return compared("call", (), [one for one in found if any(_fits(call, one) for call in unwanted)],
                            _fits, in_order=True, none_other=True)  # fmt: skip

        return self._demand("then_not_called", look)

    def then_nothing_called(self, *, key: str | None = None) -> Self:
        """Expect that nothing was called."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            found = _of(calls_of(scene.history, scene.since), key)
            return compared("call", (), found, _fits, in_order=True, none_other=True)

        return self._demand("then_nothing_called", look)

    def then_compensated(
        self, *steps: ExpectedCall, in_order: bool = True, none_other: bool = True, key: str | None = None
    ) -> Self:
        """Expect that these steps were compensated, with success, in this order and none other.

        Name the steps themselves: ``then_compensated("charge", "reserve")``.
        """
        __tracebackhide__ = True
        expected = self._checked_calls(steps, "then_compensated", "then_nothing_compensated()", "compensate ")

        def look(scene: Scene) -> Finding | None:
            found = _telling(_back(scene, key), expected)
            return compared("compensation of", expected, found, _fits_step, in_order=in_order,
                            none_other=none_other)  # fmt: skip

        return self._demand("then_compensated", look)

    def then_nothing_compensated(self, *, key: str | None = None) -> Self:
        """Expect that the way led forward only."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            return compared("compensation", (), _back(scene, key), _fits, in_order=True, none_other=True)

        return self._demand("then_nothing_compensated", look)

    def _checked_calls(
        self, calls: tuple[ExpectedCall, ...], word: str, instead: str, prefix: str = ""
    ) -> tuple[Called, ...]:
        if not calls:
            raise DesignError(f"{word}() names no call; if there is to be none, write {instead}")
        expected = tuple(map(expected_call, calls))
        seen = [call for scene in self._scenes for call in calls_of(scene.history)]
        subject = self._scenes[0].sentence.subject
        check_calls(subject, [prefix + one.name for one in expected], [call.name for call in seen])
        for one in expected:
            name = prefix + one.name
            check_arguments(name, one.spoken_of, [call.arguments for call in seen if call.name == name])
        return expected


def _of(calls: Iterable[Call], key: str | None) -> list[Call]:
    return [call for call in calls if key in {None, call.instance}]


def _telling(calls: Iterable[Call], expected: tuple[Called, ...]) -> list[Call]:
    """Let the calls tell of those arguments that are spoken of."""
    told = {one.name: one.spoken_of for one in reversed(expected)}
    every = [one.name for one in expected if callable(one.arguments)]
    return [
        replace(call, tells=tuple(call.arguments) if call.name in every else told.get(call.name, ()))
        for call in calls
    ]


def _back(scene: Scene, key: str | None) -> list[Call]:
    calls = _of(calls_of(scene.history, scene.since), key)
    return [replace(call, name=call.step) for call in calls if call.kind == "compensate"]


def _fits(expected: Called, call: Call) -> bool:
    return expected.matches(call)


def _fits_step(expected: Called, call: Call) -> bool:
    """Tell whether a step was compensated as expected; without a word about its end, with success."""
    return replace(expected, ended=expected.ended or "ok").matches(call)
