"""*Given*: what a sentence is about, and what had happened before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.units import parse_duration
from wfsim.words._failure import NoNotes, Notes
from wfsim.words._names import check_faults, check_name, check_steps
from wfsim.words._outcome import Outcome, begun
from wfsim.words._sentence import (
    Comes,
    Recorded,
    Restarts,
    Sentence,
    as_date,
    passes,
    reaches,
)
from wfsim.words._subject import subject_of
from wfsim.workflows import Event, Saga, StateMachine, shortest_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from wfsim.nemesis import Rule
    from wfsim.units import Duration
    from wfsim.workflows import EventBus

_START = "2030-01-01T00:00:00+00:00"


def given(
    design: Any,
    *,
    bus: EventBus | None = None,
    input: Any = None,  # noqa: A002 - the word that functions of a machine find it by
    start: str | datetime = _START,
    seed: int = 0,
    max_time: Duration | None = None,
    notes: Notes | None = None,
) -> Given:
    """Begin a sentence about a design: ``given(checkout).when("order-1").then_completed()``.

    ``design`` is a Saga, a ChoreographedSaga, a Choreography, an EventBus, a StateMachine, a DAGWorkflow, any object
    with ``run``, or a coroutine function. A class, or a plain function, makes one: it is called anew for each run, so
    that no run finds what an earlier one left. ``bus`` is the bus that the design speaks on, if it does not say;
    ``input`` what a state machine starts with. ``start`` is the date when the clock starts; a run that goes on for
    ``max_time`` (a year) ends there, with that outcome. ``notes`` is told of the
    runs: a test framework's plugin gives it.

    Raise DesignError if ``design`` is nothing that runs.
    """
    sentence = Sentence(subject_of(design, bus, input), as_date(start), seed, max_time)
    return Given(sentence, notes or NoNotes())


class Given:
    """A sentence of which only the *given* is said. Each word gives a new sentence, so a beginning can be shared."""

    def __init__(self, sentence: Sentence, notes: Notes) -> None:
        self._sentence = sentence
        self._notes = notes

    # -- what had happened before

    def having(self, *args: Any, key: str | None = None, **options: Any) -> Given:
        """Let this have come before, as :meth:`when` says it; all that it led to is over."""
        return self._with(Comes(args, options, key))

    def having_waited(self, duration: Duration) -> Given:
        """Let so much time have passed."""
        return self._with(passes(duration))

    def having_waited_until(self, date: str | datetime) -> Given:
        """Let time have passed until a date."""
        return self._with(reaches(date))

    def having_done(self, *steps: str) -> Given:
        """Let these steps of what comes next have succeeded: only then faults strike, and expectations look.

        The steps are really played, so their effects are in the world.
        """
        check_steps(self._sentence.subject, steps)
        if not steps:
            raise DesignError("having_done() names no step; leave it out, or write having_done('reserve')")
        return Given(replace(self._sentence, done=(*self._sentence.done, *steps)), self._notes)

    def having_recorded(self, key: str, *records: Mapping[str, Any]) -> Given:
        """Let the design's journal hold these records of the instance ``key``, as one that was read hands them out."""
        subject = self._sentence.subject
        if getattr(subject.example, "journal", None) is None:
            raise DesignError(
                f"{subject.name!r} has no journal that could hold records; give it one: journal=..."
            )
        file = f"{subject.name}/{key}" if isinstance(subject.example, Saga) else key
        return self._with(Recorded(file, records))

    def having_reached(
        self, state: str, *, events: Iterable[Any] | None = None, key: str | None = None
    ) -> Given:
        """Let a state machine have come to a state, by the shortest way there is.

        ``events`` are those that may come on the way, where one brings something with it: ``["placed", ("pay", 20)]``.
        """
        machine = self._sentence.subject.example
        if not isinstance(machine, StateMachine):
            raise DesignError(f"{self._sentence.subject.name!r} is no state machine, so it reaches no states")
        check_name(
            "state",
            state,
            [one.name for one in machine.states],
            f"StateMachine {machine.name!r}",
            is_all=True,
        )
        ways = [
            path
            for path in shortest_paths(self._sentence.subject.make, events=events)
            if state in path.states
        ]
        if not ways:
            raise DesignError(
                f"no way leads StateMachine {machine.name!r} to {state!r}; what may come? events=['a', ('b', 20)]"
            )
        result = self if ways[0].script else self.having(key=key)
        for happening in ways[0].script:
            if isinstance(happening, str):
                result = result.having(happening, key=key)
            elif isinstance(happening, tuple):
                result = result.having(*happening, key=key)
            else:
                result = result.having_waited(happening)
        return result

    def answering(self, topic: str, reply: Callable[[Event], Any] | Any) -> Given:
        """Let somebody else answer events of a topic, in place of a service that is not part of the test.

        ``reply`` is a function of the event, or what it would give: an :class:`Event` is published, any other value
        answers a request, None is no answer.
        """
        function = reply if callable(reply) else _saying(reply)
        answers = (*self._sentence.answers, (topic, function))
        return Given(replace(self._sentence, answers=answers), self._notes)

    def under(self, *faults: Rule) -> Given:
        """Let faults strike, from the first ``when`` on: ``.under(fail("charge"))``."""
        check_faults(self._sentence.subject, faults)
        return Given(self._sentence.under(faults), self._notes)

    # -- what comes

    def when(self, *args: Any, key: str | None = None, **options: Any) -> Outcome:
        """Let something come, and all that it leads to happen, to the end.

        For a design with ``run`` these are its arguments; for a state machine an event and what comes with it
        (nothing: it only starts); for a bus one or more events. ``key`` names the instance: a new one if it is
        not there yet. If the next word lets time pass, it is not awaited: exactly that much time passes.
        """
        return begun(self._sentence, self._notes, Comes(args, options, key))

    def when_time_passes(self, duration: Duration) -> Outcome:
        """Let exactly so much time pass, and with it all that comes due."""
        return begun(self._sentence, self._notes, passes(duration))

    def when_time_is(self, date: str | datetime) -> Outcome:
        """Let time pass until a date."""
        return begun(self._sentence, self._notes, reaches(date))

    def when_restarted(self, after: Duration = "1s") -> Outcome:
        """Crash all instances and start them anew ``after`` a while; carry on those that only a journal knows."""
        return begun(self._sentence, self._notes, Restarts(parse_duration(after)))

    def _with(self, happening: Any) -> Given:
        return Given(self._sentence.then(happening), self._notes)

    def __repr__(self) -> str:
        said = "".join(f", {one}" for one in self._sentence.happenings)
        return f"<given {self._sentence.subject.name}{said}>"


def _saying(value: Any) -> Callable[[Event], Any]:
    def say(_event: Event) -> Any:
        return value

    return say
