"""From *when* on: what comes, under which faults, and what is expected then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from wfsim.errors import DesignError
from wfsim.units import parse_duration
from wfsim.words._failure import ExpectationFailed, Finding, Notes, Sweep, failed
from wfsim.words._names import check_faults
from wfsim.words._paste import in_words
from wfsim.words._play import Scene, play
from wfsim.words._points import rules_for, usual_faults
from wfsim.words._sentence import Comes, Restarts, passes, reaches
from wfsim.words._then_calls import CallWords
from wfsim.words._then_ends import EndWords
from wfsim.words._then_events import EventWords
from wfsim.words._then_time import TimeWords
from wfsim.words._then_world import WorldWords

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from wfsim.harness import Run
    from wfsim.nemesis import Rule
    from wfsim.units import Duration
    from wfsim.words._points import Shorthand
    from wfsim.words._sentence import Happening, Sentence


class Outcome(CallWords, EventWords, TimeWords, EndWords, WorldWords):
    """A sentence whose *when* is said. It is played once, when the first ``then_`` asks how it went.

    After a ``then_`` it may go on: what comes next is judged by itself, and all before it is given.
    """

    def __init__(
        self, sentence: Sentence, notes: Notes, shorthands: tuple[Shorthand, ...] | None = None
    ) -> None:
        self._sentence = sentence
        self._notes = notes
        self._shorthands = shorthands
        self._played: tuple[Scene, ...] = ()
        self._is_judged = False

    # -- when

    def when(self, *args: Any, key: str | None = None, **options: Any) -> Outcome:
        """Let something more come; see :meth:`Given.when`."""
        return self._then(Comes(args, options, key))

    def when_time_passes(self, duration: Duration) -> Outcome:
        """Let exactly so much time pass, and with it all that comes due."""
        return self._then(passes(duration))

    def when_time_is(self, date: str | datetime) -> Outcome:
        """Let time pass until a date."""
        return self._then(reaches(date))

    def when_restarted(self, after: Duration = "1s") -> Outcome:
        """Crash all instances and start them anew ``after`` a while; see :meth:`Given.when_restarted`."""
        return self._then(Restarts(parse_duration(after)))

    def under(self, *faults: Rule) -> Outcome:
        """Let faults strike, from the first ``when`` on: ``.under(fail("charge"))``."""
        check_faults(self._sentence.subject, faults)
        return Outcome(self._sentence.under(faults), self._notes, self._shorthands)

    def at_every_failure_point(self, *faults: Shorthand) -> Outcome:
        """Play the sentence once more for each fault that could strike at each fault point that it passes.

        First it is played as it is. Then each call that it made fails once before its effect, and once loses its
        reply; where something survives a crash (a journal, services that restart) the process crashes there and
        comes back; on a bus each event, and each acknowledgement, is lost once and comes twice once. Every
        expectation must hold each time. ``faults`` are the kinds to try instead: ``at_every_failure_point(fail,
        crash)``.
        """
        kinds = faults or usual_faults(self._sentence.subject)
        return Outcome(self._sentence, self._notes, kinds)

    def _then(self, happening: Happening) -> Outcome:
        sentence = self._sentence.then(happening, judged=self._is_judged)
        return Outcome(sentence, self._notes, self._shorthands)

    # -- how it went

    @property
    def run(self) -> Run:
        """The run itself; at every failure point, the one without a fault more."""
        return self._scenes[0].run

    @property
    def tried(self) -> tuple[Rule, ...]:
        """The faults that were tried at every failure point."""
        return tuple(scene.fault for scene in self._scenes if scene.fault is not None)

    @property
    def _scenes(self) -> tuple[Scene, ...]:
        if not self._played:
            self._played = tuple(self._play_all())
        return self._played

    def _play_all(self) -> list[Scene]:
        first = self._play(None)
        self._insist_on_given(first)
        if self._shorthands is None:
            return [first]
        rules = rules_for(self._sentence.subject, first.passed, self._shorthands)
        if not rules:
            raise DesignError(
                f"{first.run.name!r} passes no fault point at which one of these faults could strike, so there is "
                "nothing to try; do its steps run at all?"
            )
        self._insist_on_fresh(first)
        return [first, *(self._play(rule) for rule in rules)]

    def _play(self, rule: Rule | None) -> Scene:
        scene = play(self._sentence, rule)
        if rule is None:  # those at failure points are many, and told of when they fail
            self._notes.played(scene.run)
        return scene

    def _insist_on_given(self, scene: Scene) -> None:
        """Refuse a run in which what was said to be given, or to strike, never was."""
        run, subject = scene.run, self._sentence.subject
        error = run.error
        if isinstance(error, DesignError) and not any(op.type == "fail" for op in run.history):
            raise error
        if scene.missing:
            raise ExpectationFailed(
                f"given {', '.join(self._sentence.done)} done: {', '.join(scene.missing)} never was", run
            )
        if run.unmatched:
            listed = ", ".join(map(in_words, run.unmatched))
            hint = f"; its steps: {', '.join(subject.steps)}" if subject.steps else ""
            raise DesignError(
                f"{listed} found nothing to strike in {subject.name!r}; is a name misspelt{hint}?"
            )

    def _insist_on_fresh(self, first: Scene) -> None:
        """Refuse a design that remembers: what a run finds would depend on those before it."""
        subject = self._sentence.subject
        why = subject.remembers
        if not why and play(self._sentence).run.fingerprint != first.run.fingerprint:
            why = "behaves otherwise the second time: something in it remembers earlier runs"
        if why:
            raise DesignError(
                f"{subject.name!r} {why}; give a function that makes it anew: given(make), where make() returns it"
            )

    def _demand(self, word: str, look: Callable[[Scene], Finding | None]) -> Self:
        __tracebackhide__ = True
        self._is_judged = True
        found = [(scene, finding) for scene in self._scenes if (finding := look(scene)) is not None]
        if found:
            scene, finding = found[0]
            broken = tuple(scene for scene, _ in found)
            sweep = None if self._shorthands is None else Sweep(len(self._scenes), broken)
            raise failed(word, scene, finding, self._notes, sweep)
        return self

    def __repr__(self) -> str:
        said = ", ".join(map(str, self._sentence.happenings))
        return f"<given {self._sentence.subject.name}, when {said}>"

    def __str__(self) -> str:
        """List the runs, each with its fault and how it ended."""
        width = max(len(in_words(scene.fault)) for scene in self._scenes)
        return "\n".join(f"{in_words(scene.fault):{width}}  {_ended(scene)}" for scene in self._scenes)


def _ended(scene: Scene) -> str:
    error = scene.run.error
    return scene.run.outcome if error is None else f"{scene.run.outcome}: {type(error).__name__}"


def begun(sentence: Sentence, notes: Notes, happening: Happening) -> Outcome:
    """Say the first *when*."""
    at = len(sentence.happenings)
    return Outcome(replace(sentence.then(happening), when_at=at, judged_from=at), notes)
