"""Every exception of wfsim, in one place.

Each class keeps its constructor's arguments as ``args`` and builds its message in ``__str__``, so that
``type(error)(*error.args)`` makes an equal one. Pickle rebuilds exceptions that way (runs come back from
worker processes), and so does SimPy.
"""

from __future__ import annotations

__all__ = [
    "CompensationStuck",
    "CompletionStuck",
    "ConcurrencyError",
    "CycleError",
    "Deadlock",
    "DeliveryFailed",
    "DesignError",
    "DurationError",
    "EventRefused",
    "HistoryError",
    "InjectedFault",
    "LawBroken",
    "Livelock",
    "NondeterminismError",
    "OperationBoundReached",
    "ProcessCrashed",
    "PublishUnconfirmed",
    "QueueFull",
    "RealIOError",
    "RecordLocked",
    "ReplyLost",
    "RequestTimedOut",
    "RetriesExhausted",
    "SagaFailed",
    "ScenarioError",
    "SimulationError",
    "Skip",
    "StaleRecord",
    "StepBoundReached",
    "TimeBoundReached",
    "WfsimError",
]


class WfsimError(Exception):
    """The base of every error that wfsim raises on purpose."""


class DesignError(WfsimError, ValueError):
    """A design is wrong in itself; it is refused while it is built, before anything runs."""


class CycleError(DesignError):
    """The dependencies of a design run in a circle. ``cycle`` is the path, its first name repeated last."""

    def __init__(self, cycle: tuple[str, ...]) -> None:
        super().__init__(cycle)
        self.cycle = tuple(cycle)

    def __str__(self) -> str:
        return f"the dependencies form a cycle: {' -> '.join(self.cycle)}. Remove one of these dependencies."


class DurationError(DesignError):
    """A text or value that is no duration."""


class HistoryError(WfsimError, ValueError):
    """A text that is no history, or a question about an operation that the history does not hold."""


class RealIOError(WfsimError, RuntimeError):
    """Code inside a simulation asked for a socket, a subprocess or another thing of the real world."""


class InjectedFault(WfsimError):
    """What a ``fail`` fault raises when the rule names no error of its own."""


class ReplyLost(InjectedFault, TimeoutError):
    """The call took effect but its reply never came: the caller cannot know the outcome.

    It is a ``TimeoutError``, because that is how a client sees it.
    """


class RetriesExhausted(WfsimError):
    """A retry gave up: ``attempts`` were made, and ``last`` is the error of the last one."""

    def __init__(self, attempts: int, last: BaseException, name: str = "") -> None:
        super().__init__(attempts, last, name)
        self.attempts = attempts
        self.last = last
        self.name = name

    def __str__(self) -> str:
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"{self.name or 'the call'} failed {times}; the last error was {_one_line(self.last)}"


class Skip(WfsimError):
    """A task of a DAG raises it to say that there is nothing to do: the task is skipped, which is no failure.

    The message says why. As with Airflow's ``AirflowSkipException``, the tasks after it decide by their
    trigger rules.
    """


class CompensationStuck(WfsimError):
    """A saga could not undo all it did.

    ``undone`` names the steps whose effects are left in the world (they want a human), ``cause`` is the
    error of the compensation that failed for good.
    """

    def __init__(self, undone: tuple[str, ...], cause: BaseException, design: str = "") -> None:
        super().__init__(undone, cause, design)
        self.undone = tuple(undone)
        self.cause = cause
        self.design = design

    def __str__(self) -> str:
        saga = f"saga {self.design!r}" if self.design else "the saga"
        left = ", ".join(self.undone)
        return f"{saga} is stuck: could not compensate {left} ({_one_line(self.cause)}); undo by hand"


class CompletionStuck(WfsimError):
    """A saga is past the point where it could turn back, and cannot go on either.

    ``unfinished`` names the steps that are still to be done, ``cause`` is the error of the one that failed
    for good. A saga with a journal goes on where it stopped when it is resumed.
    """

    def __init__(self, unfinished: tuple[str, ...], cause: BaseException, design: str = "") -> None:
        super().__init__(unfinished, cause, design)
        self.unfinished = tuple(unfinished)
        self.cause = cause
        self.design = design

    def __str__(self) -> str:
        saga = f"saga {self.design!r}" if self.design else "the saga"
        left = ", ".join(self.unfinished)
        return (
            f"{saga} is stuck past its pivot: could not finish {left} ({_one_line(self.cause)}); "
            "resume it, or finish by hand"
        )


class SagaFailed(WfsimError):
    """A saga failed at ``step`` in an earlier life, and what it had done is undone.

    Who starts or resumes it once more is told again. ``error`` is what the journal kept of the failure.
    """

    def __init__(self, design: str, step: str, error: str) -> None:
        super().__init__(design, step, error)
        self.design = design
        self.step = step
        self.error = error

    def __str__(self) -> str:
        return f"saga {self.design!r} failed at step {self.step!r} ({self.error}) and was undone"


class RecordLocked(WfsimError):
    """A record is held by another saga, and this one may not wait for it, or no longer."""

    def __init__(self, record: str, holder: str, reason: str = "") -> None:
        super().__init__(record, holder, reason)
        self.record = record
        self.holder = holder
        self.reason = reason

    def __str__(self) -> str:
        return f"record {self.record!r} is held by saga {self.holder!r}{self.reason and f'; {self.reason}'}"


class StaleRecord(WfsimError):
    """A record was changed by another saga after this one had read it."""

    def __init__(self, record: str) -> None:
        super().__init__(record)
        self.record = record

    def __str__(self) -> str:
        return f"record {self.record!r} was changed since it was read; read it again before writing"


class EventRefused(WfsimError):
    """No transition answered an event, in a state machine that refuses such events.

    ``states`` are the atomic states in which the machine was.
    """

    def __init__(self, event: str, states: tuple[str, ...] = (), design: str = "", hint: str = "") -> None:
        super().__init__(event, states, design, hint)
        self.event = event
        self.states = tuple(states)
        self.design = design
        self.hint = hint

    def __str__(self) -> str:
        machine = f"state machine {self.design!r}" if self.design else "the state machine"
        where = ", ".join(self.states) or "no state"
        return f"{machine} is in {where}, where nothing answers the event {self.event!r}{self.hint}"


class DeliveryFailed(WfsimError):
    """Handlers of an event failed for good where it was published at once: with no loop to try again in."""

    def __init__(self, topic: str, subscribers: tuple[str, ...], cause: BaseException) -> None:
        super().__init__(topic, subscribers, cause)
        self.topic = topic
        self.subscribers = tuple(subscribers)
        self.cause = cause

    def __str__(self) -> str:
        who = ", ".join(self.subscribers)
        return f"event {self.topic!r} could not be handled by {who}: {_one_line(self.cause)}"


class QueueFull(WfsimError):
    """An event was refused because too many wait for a subscriber already."""

    def __init__(self, subscriber: str, capacity: int, topic: str = "") -> None:
        super().__init__(subscriber, capacity, topic)
        self.subscriber = subscriber
        self.capacity = capacity
        self.topic = topic

    def __str__(self) -> str:
        return f"{self.subscriber!r} takes no {self.topic or 'event'}: {self.capacity} events wait for it already"


class PublishUnconfirmed(WfsimError, TimeoutError):
    """The bus did not confirm an event in time. Most likely it never got there; nobody can know."""

    def __init__(self, topic: str, timeout: str) -> None:
        super().__init__(topic, timeout)
        self.topic = topic
        self.timeout = timeout

    def __str__(self) -> str:
        return f"the bus did not confirm event {self.topic!r} within {self.timeout}; publish it again"


class RequestTimedOut(WfsimError, TimeoutError):
    """Nobody answered a request in time; whether it took effect is unknown."""

    def __init__(self, topic: str, timeout: str) -> None:
        super().__init__(topic, timeout)
        self.topic = topic
        self.timeout = timeout

    def __str__(self) -> str:
        return f"nobody answered {self.topic!r} within {self.timeout}"


class ConcurrencyError(WfsimError):
    """Somebody else appended to a stream meanwhile: ``expected`` and ``actual`` are its versions."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(stream, expected, actual)
        self.stream = stream
        self.expected = expected
        self.actual = actual

    def __str__(self) -> str:
        return (
            f"stream {self.stream!r} is at version {self.actual}, not {self.expected} as expected: somebody else "
            "appended to it meanwhile; read it again, decide again, append again"
        )


class SimulationError(WfsimError):
    """A simulation ended in another way than by returning or raising."""


class Deadlock(SimulationError):
    """Nothing is scheduled any more, yet tasks still wait."""


class Livelock(SimulationError):
    """Step follows step while virtual time stands still."""


class TimeBoundReached(SimulationError):
    """The run reached its bound of virtual time."""


class StepBoundReached(SimulationError):
    """The run reached its bound of steps."""


class OperationBoundReached(SimulationError):
    """The run reached its bound of recorded operations."""


class ProcessCrashed(SimulationError):
    """A simulated process that somebody waits for has crashed and does not come back."""


class LawBroken(WfsimError, AssertionError):
    """An implementation does not keep a law of the protocol that it implements."""

    def __init__(self, law: str, message: str) -> None:
        super().__init__(law, message)
        self.law = law
        self.message = message

    def __str__(self) -> str:
        """Name the law, then say what breaks it."""
        return f"the law {self.law!r} is broken: {self.message}"


class NondeterminismError(WfsimError):
    """Two runs with one seed differ: the code holds nondeterminism that wfsim does not control."""


class ScenarioError(WfsimError):
    """A scenario file is wrong.

    The parts that are known (the place: ``file``, ``line``, ``column``, ``field``; then the ``problem``,
    what is ``allowed`` and a ``suggestion``) make one message. Lines and columns count from 1; 0 means
    unknown.
    """

    def __init__(
        self,
        problem: str,
        file: str = "",
        line: int = 0,
        column: int = 0,
        field: str = "",
        allowed: tuple[str, ...] = (),
        suggestion: str = "",
    ) -> None:
        super().__init__(problem, file, line, column, field, allowed, suggestion)
        self.problem = problem
        self.file = file
        self.line = line
        self.column = column
        self.field = field
        self.allowed = tuple(allowed)
        self.suggestion = suggestion

    @property
    def place(self) -> str:
        """Where the error is, as editors understand it: ``file:line:column``."""
        numbers = [str(number) for number in (self.line, self.column) if number]
        return ":".join([self.file or "line", *numbers]) if self.file or numbers else ""

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.place, self.field, self.problem) if part)
        tail = []
        if self.allowed:
            tail.append(f"allowed: {', '.join(self.allowed)}")
        if self.suggestion:
            tail.append(f"did you mean {self.suggestion!r}?")
        return "; ".join([head, *tail])


def _one_line(error: BaseException) -> str:
    """``ConnectionError: down``, as the last line of a traceback has it."""
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
