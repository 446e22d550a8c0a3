"""Expectations of ends and states: completed, failed, still going on; where a state machine is."""

from __future__ import annotations

import re
from abc import ABC
from typing import TYPE_CHECKING, Any, Final, Self

from wfsim.errors import DesignError
from wfsim.history import plain_data
from wfsim.words._demand import Demands
from wfsim.words._failure import Finding
from wfsim.words._lives import RESTS
from wfsim.words._names import check_name
from wfsim.words._told import instances_in, places_in
from wfsim.workflows import StateMachine

if TYPE_CHECKING:
    from wfsim.history import Span
    from wfsim.words._play import Scene
    from wfsim.words._told import Place

_ANY: Final = object()
_HOW: Final = {"ok": "completed", "fail": "failed", "info": "was cut off", None: "has not ended"}


class EndWords(Demands, ABC):
    """How instances ended, and where they are."""

    def snapshot(self, key: str | None = None) -> Place:
        """Give where the state machine (the instance of ``key``) is in the end, with its data: for what no word says.

        Raise DesignError if there is none.
        """
        scene = self._scenes[0]
        places = _places(scene, key)
        if not places:
            check_name("instance", str(key), places_in(scene.history), "the sentence", is_all=True)
        return places[0]

    def then_completed(self, value: Any = _ANY, *, key: str | None = None) -> Self:
        """Expect success: every instance (that of ``key``) returned, with this ``value`` if it is given.

        A state machine has completed when it is in a final state.
        """
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            for end in _ends(scene, key):
                if not end.is_good:
                    return Finding(f"{end.words}, expected it to complete", happened=_all(scene), ops=end.ops)
                if value is not _ANY and end.value != _plain(value) and scene.run.value != value:
                    return Finding(f"{end.name} gave {end.value!r}, expected {value!r}", ops=end.ops)
            return None

        return self._demand("then_completed", look)

    def then_failed(
        self, error: type[BaseException] | None = None, *, match: str = "", key: str | None = None
    ) -> Self:
        """Expect that it failed: with an error of this type, whose message holds the pattern ``match``."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            wanted = "an error" if error is None else error.__name__
            wanted += f" matching {match!r}" if match else ""
            failed = [end for end in _ends(scene, key) if end.error]
            if not failed and scene.run.error is None:
                return Finding(f"nothing failed, expected {wanted}", happened=_all(scene))
            if any(_is_as_expected(end.error, end.message, error, match) for end in failed):
                return None
            raised = scene.run.error
            if (
                raised is not None
                and isinstance(raised, error or BaseException)
                and re.search(match, str(raised))
            ):
                return None
            words = failed[0].words if failed else f"{type(raised).__name__}: {raised}"
            return Finding(f"{words}, expected {wanted}", happened=_all(scene))

        return self._demand("then_failed", look)

    def then_not_completed(self, *, key: str | None = None) -> Self:
        """Expect that it still goes on where the sentence ends: it has neither completed nor failed."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            over = [end for end in _ends(scene, key) if end.is_over]
            return Finding(f"{over[0].words}, expected it to go on", happened=_all(scene)) if over else None

        return self._demand("then_not_completed", look)

    def then_ended(self, *, key: str | None = None) -> Self:
        """Expect an end, good or bad: nothing hangs, nothing was cut off for good."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            return unended(scene, key)

        return self._demand("then_ended", look)

    def then_state(self, *states: str, key: str | None = None) -> Self:
        """Expect that the state machine (the instance of ``key``) is in this state, in all of these if parallel.

        A state that holds others may be named too.
        """
        __tracebackhide__ = True
        if not states:
            raise DesignError("then_state() names no state; write then_state('paid')")
        self._check_states(states)

        def look(scene: Scene) -> Finding | None:
            places = _places(scene, key)
            wrong = [place for place in places if any(state not in place.within for state in states)]
            if places and not wrong:
                return None
            wanted = " and ".join(states)
            if not places:
                return Finding(
                    f"no {'state machine' if key is None else repr(key)} was there, expected {wanted}"
                )
            return Finding(f"{wrong[0]}, expected {wanted}", ops=tuple(place.op for place in wrong))

        return self._demand("then_state", look)

    def then_data(self, *, key: str | None = None, **data: Any) -> Self:
        """Expect that the state machine's data hold these values, as plain data."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            places = _places(scene, key)
            for place in places:
                if place.data is None:
                    return Finding("the machine's data are not known: it was not at rest when the run ended")
                for name, value in data.items():
                    if name not in place.data or place.data[name] != _plain(value):
                        found = repr(place.data[name]) if name in place.data else "not there"
                        return Finding(f"{name} of {place.instance} is {found}, expected {value!r}",
                                       ops=(place.op,))  # fmt: skip
            return None if places else Finding("no state machine was there")

        return self._demand("then_data", look)

    def then_active(self, count: int | None = None, *, key: str | None = None) -> Self:
        """Expect so many instances that have begun and not ended; or that the one of ``key`` is one of them."""
        __tracebackhide__ = True
        if (count is None) == (key is None):
            raise DesignError(
                "then_active() takes a number or a key: then_active(2), then_active(key='order-7')"
            )

        def look(scene: Scene) -> Finding | None:
            active = _active(scene)
            if count is not None and len(active) != count:
                return Finding(f"{len(active)} are active, expected {count}", happened=tuple(active))
            if key is not None and key not in active:
                return Finding(f"{key!r} is not active", happened=tuple(active))
            return None

        return self._demand("then_active", look)

    def then_not_active(self, *, key: str) -> Self:
        """Expect that the instance of this key has never begun, or has ended."""
        __tracebackhide__ = True

        def look(scene: Scene) -> Finding | None:
            active = _active(scene)
            return Finding(f"{key!r} is active", happened=tuple(active)) if key in active else None

        return self._demand("then_not_active", look)

    def _check_states(self, states: tuple[str, ...]) -> None:
        subject = self._scenes[0].sentence.subject
        known = [
            place
            for scene in self._scenes
            for one in places_in(scene.history).values()
            for place in one.within
        ]
        is_machine = isinstance(subject.example, StateMachine)
        if isinstance(subject.example, StateMachine):
            known = [state.name for state in subject.example.states]
        title = f"{type(subject.example).__name__} {subject.name!r}"
        for state in states:
            check_name("state", state, known, title, is_all=is_machine)


class _End:
    """How one instance ended, if it did."""

    def __init__(self, span: Span | None, place: Place | None, name: str) -> None:
        self.name = name
        result = {} if span is None else span.result
        self.error = str(result.get("error", ""))
        self.message = str(result.get("message", ""))
        self.value = result.get("value")
        outcome = "ok" if place is not None and place.done else None if span is None else span.outcome
        self.is_good, self.is_over = outcome == "ok", outcome is not None
        self.was_cut_off = outcome == "info"
        self.ops = () if span is None else (span.index,)
        error = f": {self.error.rpartition('.')[2]}: {self.message}" if self.error else ""
        self.words = f"{name} {_HOW[outcome]}{error}"


def unended(scene: Scene, key: str | None = None) -> Finding | None:
    """Object to an instance that never ended, or that was cut off."""
    for end in _ends(scene, key):
        if not end.is_over or end.was_cut_off:
            waits = tuple(
                f"{one.task} waits for {one.waits_for} ({one.where})" for one in scene.run.waiting[:3]
            )
            return Finding(end.words, happened=_all(scene), notes=waits, ops=end.ops)
    if scene.run.outcome not in {"ok", "error"}:
        return Finding(f"the run ended in a {scene.run.outcome}: {scene.run.error}")
    return None


def _ends(scene: Scene, key: str | None) -> list[_End]:
    """Give the ends of what the sentence began since it is watched. Raise DesignError for an unknown key."""
    spans, places = instances_in(scene.history), places_in(scene.history)
    names = [*spans, *(name for name in places if name not in spans)]
    if isinstance(scene.sentence.subject.example, StateMachine):
        names = list(places)
    ends = [_End(spans.get(name), places.get(name), name) for name in names if key in {None, name}]
    if key is not None and not ends:
        check_name("instance", key, names, "the sentence", is_all=True)
    if not ends:  # nothing but a bus: what counts is the run itself
        error = scene.run.error
        end = _End(None, None, scene.run.name)
        end.is_over = scene.run.outcome in {"ok", "error"}
        end.is_good = scene.run.ok
        end.error = type(error).__name__ if error is not None else ""
        end.message = str(error or "")
        end.words = f"{scene.run.name} ended {scene.run.outcome}{f': {error}' if error is not None else ''}"
        ends = [end]
    return ends


def _all(scene: Scene) -> tuple[str, ...]:
    return tuple(end.words for end in _ends(scene, None))


def _places(scene: Scene, key: str | None) -> list[Place]:
    return [place for name, place in places_in(scene.history).items() if key in {None, name}]


def _active(scene: Scene) -> list[str]:
    spans, places = instances_in(scene.history), places_in(scene.history)
    resting = [op.name for op in scene.history.where(kind=RESTS)]
    running = [name for name, span in spans.items() if span.outcome is None]
    return running + [name for name in resting if name not in spans and not places[name].done]


def _is_as_expected(name: str, message: str, error: type[BaseException] | None, match: str) -> bool:
    """Compare what the history holds of an error: the name of its type, not those above it."""
    return (error is None or name.rpartition(".")[2] == error.__name__) and bool(re.search(match, message))


def _plain(value: Any) -> Any:
    return plain_data({"value": value})["value"]
