"""Tests made from a machine: the shortest ways to everything it can do, found by really running it.

The ideas are those of XState's graph tools (getShortestPaths, getSimplePaths) and of the transition tour
(Naito and Tsunoyama, Fault detection for sequential machines by transition-tours, FTCS 1981). A guard that
reads data, or that calls a function, is not guessed at: each way is played in virtual time, from the start.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wfsim.errors import DesignError, SimulationError
from wfsim.history import Plain
from wfsim.kernel import Simulation, sleep
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wfsim.workflows._statemachine._machine import StateMachine
    from wfsim.workflows._statemachine._script import InTurn
    from wfsim.workflows._statemachine._session import Session

    Machine: TypeAlias = StateMachine | Callable[[], StateMachine]

SITUATIONS_MAX: Final = 1_000
_PLATFORM: Final = ("done.", "error")


@dataclass(frozen=True, slots=True)
class Path:
    """A way through a machine: what is to happen, one after the other, and where that leads.

    ``script`` can be played: ``machine.run(None, *path.script)``. ``taken`` are the transitions on the way,
    ``states`` the active atomic states at its end, ``data`` the machine's data there.
    """

    script: tuple[InTurn, ...]
    taken: tuple[str, ...]
    states: tuple[str, ...]
    data: dict[str, Any]

    def __str__(self) -> str:
        way = ", ".join(map(_words, self.script)) or "start"
        return f"{way} => {', '.join(self.states)}"


@dataclass(frozen=True, slots=True)
class _Found:
    """A situation that was reached: which one, how, and whether anything can happen in it still."""

    situation: str
    path: Path
    done: bool


def shortest_paths(
    machine: Machine, *, events: Iterable[InTurn] | None = None, limit: int = SITUATIONS_MAX
) -> tuple[Path, ...]:
    """Find a shortest way to each situation: each set of active states with each state of the data.

    ``machine`` is one, or a function that makes one: needed where guards and actions read or change something
    beside the machine's own data. ``events`` are what may happen; without it, each trigger of the machine and
    each time after which something does. Raise DesignError if there are more than ``limit`` situations (data
    that grow for ever do that).
    """
    return tuple(found.path for found in _explore(machine, events, limit).values())


def simple_paths(
    machine: Machine, *, events: Iterable[InTurn] | None = None, limit: int = SITUATIONS_MAX
) -> tuple[Path, ...]:
    """Find every way that comes to no situation twice. There may be very many; ``limit`` bounds them."""
    make, alphabet = _maker(machine), _alphabet(machine, events)
    first = _play(make, ())
    found: list[Path] = []
    stack: list[tuple[_Found, tuple[str, ...]]] = [(first, (first.situation,))]
    while stack:
        here, seen = stack.pop()
        found.append(here.path)
        if len(found) > limit:
            raise DesignError(
                f"there are more than {limit} simple paths; give fewer events, or a higher limit"
            )
        onward = [] if here.done else [_play(make, (*here.path.script, one)) for one in alphabet]
        stack.extend((one, (*seen, one.situation)) for one in reversed(onward) if one.situation not in seen)
    return tuple(found)


def transition_tour(
    machine: Machine, *, events: Iterable[InTurn] | None = None, limit: int = SITUATIONS_MAX
) -> tuple[Path, ...]:
    """Find a few ways that together take every transition that can be taken.

    Greedy: each way goes on to the nearest transition that none has taken, and a new one begins where no
    more can be reached. What remains untaken is not possible under these events:
    ``transition_coverage`` of the ways' runs names it.
    """
    make, alphabet = _maker(machine), _alphabet(machine, events)
    taken: dict[str, None] = {}
    tours: list[Path] = []
    while True:
        way = _tour(make, alphabet, taken, limit)
        if way is None:
            return tuple(tours)
        tours.append(way)


def _tour(
    make: Callable[[], StateMachine], alphabet: tuple[InTurn, ...], taken: dict[str, None], limit: int
) -> Path | None:
    """Go as far as there is something new, from the start; None if there is nothing new at all."""
    here = _play(make, ())
    found = any(name not in taken for name in here.path.taken)
    taken.update(dict.fromkeys(here.path.taken))
    while (onward := _nearest(make, alphabet, here, taken, limit)) is not None:
        here, found = onward, True
        taken.update(dict.fromkeys(here.path.taken))
    return here.path if found else None


def _nearest(
    make: Callable[[], StateMachine],
    alphabet: tuple[InTurn, ...],
    start: _Found,
    taken: dict[str, None],
    limit: int,
) -> _Found | None:
    """Search breadth first for the nearest situation behind a transition that is not taken yet."""
    seen = {start.situation: None}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for one in () if here.done else alphabet:
            onward = _play(make, (*here.path.script, one))
            if any(name not in taken for name in onward.path.taken):
                return onward
            if onward.situation not in seen:
                _check_limit(len(seen), limit)
                seen[onward.situation] = None
                queue.append(onward)
    return None


def _explore(machine: Machine, events: Iterable[InTurn] | None, limit: int) -> dict[str, _Found]:
    make, alphabet = _maker(machine), _alphabet(machine, events)
    first = _play(make, ())
    found = {first.situation: first}
    queue = deque([first])
    while queue:
        here = queue.popleft()
        for one in () if here.done else alphabet:
            onward = _play(make, (*here.path.script, one))
            if onward.situation not in found:
                _check_limit(len(found), limit)
                found[onward.situation] = onward
                queue.append(onward)
    return found


def _check_limit(count: int, limit: int) -> None:
    if count >= limit:
        raise DesignError(
            f"the machine has more than {limit} situations, as when a number in its data grows for ever; give "
            "fewer events, or a higher limit"
        )


# -- playing a way --


def _maker(machine: Machine) -> Callable[[], StateMachine]:
    return machine if callable(machine) else lambda: machine


def _alphabet(machine: Machine, events: Iterable[InTurn] | None) -> tuple[InTurn, ...]:
    if events is not None:
        return tuple(events)
    one = _maker(machine)()
    chart = one.chart()
    found: dict[InTurn, None] = {}
    for transition in one.transitions:
        for trigger in transition.triggers:
            if not trigger.startswith(_PLATFORM) and trigger != "*":
                found[trigger.removesuffix(".*")] = None
        if transition.unnamed and chart.nodes.get(transition.source, chart.root).history is None:
            found.update(dict.fromkeys(transition.targets))
        if transition.after_ns is not None:
            found[timedelta(microseconds=-(-transition.after_ns // 1_000))] = None
    return tuple(found)


def _play(make: Callable[[], StateMachine], script: tuple[InTurn, ...]) -> _Found:
    """Play a script in a simulation of its own. An error of the user's code leads to no situation of its own."""
    machine = make()
    simulation = Simulation()
    outcome = simulation.run(_live, machine, script)
    if outcome.error is not None:
        raise outcome.error
    session: Session = outcome.value
    taken = [
        name
        for op in simulation.recorder.history().where(kind="transition", design=machine.name)
        for name in op.data["taken"]
    ]
    states = tuple(node.name for node in session.leaves)
    data = dict(Plain.of(session.data))
    return _Found(_situation(session, data), Path(script, tuple(taken), states, data), session.done)


async def _live(machine: StateMachine, script: tuple[InTurn, ...]) -> Session:
    session = machine.session(key="way" if machine.journal else None)
    await session.start()
    for happening in script:
        if isinstance(happening, timedelta):
            await sleep(happening / timedelta(microseconds=1) * 1_000 / NS_PER_SECOND)
            continue
        event, payload = happening if isinstance(happening, tuple) else (happening, None)
        try:
            await session.trigger(event, payload)
        except SimulationError:
            raise
        except Exception:  # noqa: BLE001, S112 - the machine stays where it was, which is a situation known
            continue
    return session


def _situation(session: Session, data: dict[str, Any]) -> str:
    """Name all that decides what can happen next: states, memories, data, and the timers with their order."""
    past = {name: [node.name for node in nodes] for name, nodes in session.past.items()}
    timers = [timer.name for timer in sorted(session.timers, key=lambda timer: timer.due_ns)]
    return json.dumps([session.states, past, data, timers], sort_keys=True)


def _words(happening: InTurn) -> str:
    if isinstance(happening, timedelta):
        return f"wait {happening}"
    return happening if isinstance(happening, str) else f"{happening[0]}({happening[1]!r})"
