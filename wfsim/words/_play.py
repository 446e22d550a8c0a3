"""Playing a sentence: one run of it, happening by happening."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError
from wfsim.harness import Run, simulate
from wfsim.kernel import call, current, sleep
from wfsim.units import NS_PER_SECOND
from wfsim.words._instances import Instances
from wfsim.words._lives import Lives
from wfsim.words._sentence import Comes, Passes, Reaches, Recorded, Restarts, ns_until
from wfsim.words._stagehand import GIVEN, Passage, Stagehand
from wfsim.workflows import Event, EventBus, StateMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.history import History
    from wfsim.kernel import Simulation
    from wfsim.nemesis import Rule
    from wfsim.words._sentence import Happening, Sentence

WHEN: Final = "when"
"""The kind of fact that marks what comes."""
ANSWERS: Final = "who answers "
"""How the subscriber is called that answers in place of somebody else."""
# An instant is over when everybody has had so many turns and nobody has anything to tell any more.
_CALM_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True)
class Scene:
    """One run of a sentence: what happened, and which fault points were passed."""

    sentence: Sentence
    run: Run
    passed: tuple[Passage, ...]
    missing: tuple[str, ...]
    """Steps that were to be done before, and were not."""
    fault: Rule | None = None
    """The fault that this run was given beside those of the sentence."""

    @property
    def history(self) -> History:
        """What was recorded, up to where the sentence ends."""
        return self.run.history

    @property
    def since(self) -> int:
        """The operation after which the expectations look: the mark of what comes, or of what is given."""
        sentence, since = self.sentence, -1
        for op in self.history:
            if op.kind in {GIVEN, WHEN} and op.data.get("happening") == sentence.judged_from:
                since = op.index
            elif op.kind == GIVEN and "done" in op.data and sentence.judged_from == sentence.when_at:
                return op.index
        return since


def play(sentence: Sentence, fault: Rule | None = None) -> Scene:
    """Run a sentence once, under one more fault if it is given."""
    rules = sentence.faults if fault is None else (*sentence.faults, fault)
    hands: list[Stagehand] = []

    def hand() -> Stagehand:
        hands.append(Stagehand(rules, sentence.done))
        return hands[-1]

    start, max_time = sentence.start, sentence.max_time
    run = simulate(
        _Play(sentence),
        seed=sentence.seed,
        faults=hand,
        start=start,
        max_time=max_time,
        record_arguments=True,
    )
    return Scene(sentence, run, tuple(hands[0].passed), hands[0].missing, fault)


@dataclass
class _Play:
    """What a simulation runs."""

    sentence: Sentence
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.sentence.subject.name

    async def run(self) -> Any:
        """Let all happen; give the value of the first instance to be watched, or raise the first error."""
        simulation = current()
        assert simulation is not None  # noqa: S101 - simulate() runs it
        return await _Stage(self.sentence, simulation).play()


class _Publisher:
    """Publishes on a bus what comes."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    def begin(self, args: tuple[Any, ...], options: Mapping[str, Any], key: str | None) -> tuple[Any, ...]:
        wrong = [one for one in args if not isinstance(one, Event)]
        if wrong or options or key is not None or not args:
            raise DesignError(
                f"what comes to bus {self._bus.name!r} are events: .when(Event('order.placed', {{...}}))"
            )
        nemesis: Any = current().nemesis  # type: ignore[union-attr]
        nemesis.is_own_doing = True
        try:
            return tuple(self._bus.publish(event) for event in args)
        finally:
            nemesis.is_own_doing = False

    async def settle(self, receipts: list[Any]) -> list[Any]:
        found: list[Any] = []
        for receipt in [one for some in receipts for one in some]:
            try:
                await receipt
            except Exception as error:  # noqa: BLE001 - it is the publisher's, and so the sentence's
                found.append(error)
        return found

    def restart(self, _after_s: float) -> list[Any]:
        raise DesignError(
            f"bus {self._bus.name!r} is no process that could be restarted; crash a service by a fault: "
            ".under(crash(process='billing', restart_after='1s'))"
        )

    def tell(self) -> None:
        """Nothing to add to what the history holds."""

    def leave(self) -> None:
        """Nothing runs that would not be cancelled anyway."""


class _Stage:
    """One run."""

    def __init__(self, sentence: Sentence, simulation: Simulation) -> None:
        self._sentence = sentence
        self._simulation = simulation
        self._design = design = sentence.subject.make()
        self._bus = design if isinstance(design, EventBus) else getattr(design, "bus", None)
        if not isinstance(self._bus, EventBus):
            self._bus = sentence.subject.bus
        self._driver: Any = _driver(design, sentence.subject.input)
        self._values: list[Any] = []
        self._open: list[Any] = []

    async def play(self) -> Any:
        sentence = self._sentence
        self._answer()
        for number, happening in enumerate(sentence.happenings):
            if number == sentence.when_at:
                self._watch()
            self._mark(number, happening)
            coming = sentence.happenings[number + 1 : number + 2]
            await self._let(happening, settles=not any(isinstance(one, Passes | Reaches) for one in coming))
        self._driver.tell()
        value = self._outcome()
        self._simulation.recorder.mute()  # what is cleaned away from now on is no part of the sentence
        self._driver.leave()
        if isinstance(value, BaseException):
            raise value
        return value

    def _watch(self) -> None:
        nemesis = self._simulation.nemesis
        if isinstance(nemesis, Stagehand):
            nemesis.begin()

    def _mark(self, number: int, happening: Happening) -> None:
        at = self._sentence.when_at
        kind = WHEN if at is not None and number >= at else GIVEN
        data = {"happening": number}
        self._simulation.recorder.event(kind, self._sentence.subject.name, str(happening), "main", data=data)

    async def _let(self, happening: Happening, *, settles: bool) -> None:
        if isinstance(happening, Comes):
            args, options, key = happening.args, happening.options, happening.key
            self._open.append(self._driver.begin(args, options, key))
        elif isinstance(happening, Passes):
            await self._pass(happening.ns)
        elif isinstance(happening, Reaches):
            simulation = self._simulation
            now = simulation.start + timedelta(microseconds=simulation.now_ns // 1_000)
            await self._pass(max(0, ns_until(happening.date, now) - simulation.now_ns % 1_000))
        elif isinstance(happening, Recorded):
            for record in happening.records:
                await self._design.journal.append(happening.key, record)
        elif isinstance(happening, Restarts):
            self._open += self._driver.restart(happening.after_ns / NS_PER_SECOND)
        if settles and isinstance(happening, Comes | Restarts):
            await self._settle()

    async def _pass(self, ns: int) -> None:
        """Let time pass, and with it all that is due up to then, also in the last instant."""
        await sleep(ns / NS_PER_SECOND)
        recorder, calm, told = self._simulation.recorder, 0, -1
        while calm < _CALM_ROUNDS:
            calm, told = (calm + 1, told) if len(recorder) == told else (0, len(recorder))
            await sleep(0)

    async def _settle(self) -> None:
        """Wait until all that was set off has come to its end."""
        self._collect(await self._driver.settle(self._open))
        if isinstance(self._bus, EventBus):
            await self._bus.drain()

    def _collect(self, values: list[Any]) -> None:
        self._values += values
        self._open.clear()

    def _outcome(self) -> Any:
        """Give the first error, else the one value, else all; what has not ended has none."""
        ended = [one for one in self._open if getattr(one, "done", lambda: False)() and not one.cancelled()]
        values = [*self._values, *(one.exception() or one.result() for one in ended)]
        errors = [value for value in values if isinstance(value, BaseException)]
        if errors:
            return errors[0]
        return values[0] if len(values) == 1 else values or None

    def _answer(self) -> None:
        for topic, reply in self._sentence.answers:
            if not isinstance(self._bus, EventBus):
                raise DesignError(
                    f"nobody could answer {topic!r}: {self._sentence.subject.name!r} has no bus; write "
                    "given(design, bus=bus)"
                )
            handler = _answering(self._bus, reply)
            self._bus.subscribe(topic, handler, name=f"{ANSWERS}{topic}", group=f"{ANSWERS}{topic}")


def _answering(bus: EventBus, reply: Callable[..., Any]) -> Callable[[Event], Any]:
    async def answer(event: Event) -> Any:
        said = await call(reply, event)
        if isinstance(said, Event):
            await bus.publish(said)
            return None
        return said

    return answer


def _driver(design: Any, given: Any) -> Any:
    if isinstance(design, EventBus):
        return _Publisher(design)
    return Lives(design, given) if isinstance(design, StateMachine) else Instances(design)
