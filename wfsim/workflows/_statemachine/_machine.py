"""The state machine as a design: states, transitions, and the ways to run it."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, Literal

from wfsim.errors import DesignError
from wfsim.history import Plain
from wfsim.kernel import current, running_loop, sleep, span
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._execute import execute
from wfsim.workflows._naming import checked_name, did_you_mean, unique
from wfsim.workflows._statemachine._chart import Chart
from wfsim.workflows._statemachine._describe import describe
from wfsim.workflows._statemachine._keeper import Journal, Keeper
from wfsim.workflows._statemachine._parts import (
    ANY,
    Function,
    Functions,
    HistoryKind,
    State,
    Transition,
    calls,
    check_history,
    delay_ns,
    label,
    names,
    plain_output,
)
from wfsim.workflows._statemachine._script import Happening, check_script, play
from wfsim.workflows._statemachine._session import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from typing import Self

    from wfsim.kernel import Nemesis
    from wfsim.workflows._policy import Policy
    from wfsim.workflows._statemachine._checks import Problem

_UNHANDLED: Final = ("ignore", "raise")
_ERRORS: Final = ("stay", "continue")
_ACTIONS: Final = ("at_least_once", "at_most_once")


class StateMachine:
    """States and the transitions between them, by the rules of W3C SCXML.

    ::

        door = StateMachine(initial="closed", name="door")
        door.add_transition("closed", "open", trigger="push", guard=is_unlocked, action=ring)
        door.add_transition("open", "closed", after="30s")
        await door.trigger("push")  # without a running loop: door.trigger("push"), in virtual time
        door.state  # "open"

    States may be added by ``add_state``, which says more of them; a state that only a transition names is a
    plain one. ``initial`` is where the machine begins. ``data`` are values that its functions keep between
    events (``context.data``); each run begins with a copy.

    ``unhandled`` says what becomes of an event that no transition answers: ``"ignore"`` it (the history
    tells) or ``"raise"`` EventRefused. ``errors`` says what an exception of a guard, an action or a hook
    does: with ``"stay"`` the step is given up as a whole, the machine stays where it was, and then a
    transition on ``error`` answers, or the exception is raised where the event was triggered; with
    ``"continue"`` the step is made all the same and the exception becomes the event ``error.execution``, as
    in SCXML.

    With a ``journal`` each step is durable, and a machine that is run again under the same key goes on
    where it was. ``actions`` says what a crash between a function's work and its record does: call the
    function again (``"at_least_once"``), or not (``"at_most_once"``).
    """

    def __init__(
        self,
        initial: str | Sequence[str],
        name: str = "machine",
        *,
        data: Mapping[str, Any] | None = None,
        unhandled: Literal["ignore", "raise"] = "ignore",
        errors: Literal["stay", "continue"] = "stay",
        journal: Journal | None = None,
        actions: Literal["at_least_once", "at_most_once"] = "at_least_once",
    ) -> None:
        self.name = checked_name(name, "a state machine")
        self.initial = names(initial, f"the initial state of state machine {name!r}")
        self.unhandled = _one_of("unhandled", unhandled, _UNHANDLED)
        self.errors = _one_of("errors", errors, _ERRORS)
        self.actions = _one_of("actions", actions, _ACTIONS)
        self.journal = journal
        self._data = dict(data or {})
        self._states: dict[str, State] = {}
        self._transitions: list[Transition] = []
        self._implied: dict[str, None] = dict.fromkeys(self.initial)
        self._chart: Chart | None = None
        self._described: Plain | None = None
        self._session: Session | None = None

    # -- building --

    def add_state(
        self,
        name: str,
        *,
        parent: str | None = None,
        initial: str | Sequence[str] | None = None,
        parallel: bool = False,
        final: bool = False,
        history: HistoryKind | None = None,
        on_entry: Functions = None,
        on_exit: Functions = None,
        on_initial: Functions = None,
        output: Any = None,
    ) -> Self:
        """Add a state and give the machine back.

        A state with ``parent`` is inside that one; ``initial`` is where a state that holds others begins (the
        first that was added, if it does not say). In a ``parallel`` state all states right inside it, its
        regions, are active together. A ``final`` state ends what it is inside of: the event
        ``done.state.<parent>`` is raised, or the machine ends; ``output`` (a value, or a function) goes with
        it. A ``history`` state stands for what was active inside its parent when that was last left: the
        states right inside it (``"shallow"``) or all below (``"deep"``); a transition out of it says
        where to go without a past.

        ``on_entry`` and ``on_exit`` are functions, ``on_initial`` is called when the state is entered where
        it begins. Each takes no argument or one, the :class:`MachineContext`, and may be a
        coroutine function.
        """
        self._check_state(name)
        check_history(history, name, parent)
        if final and (parallel or history):
            other = "parallel" if parallel else "a history state"
            raise DesignError(f"state {name!r} is final, so it cannot be {other} too")
        if history and (on_entry or on_exit):
            raise DesignError(f"history state {name!r} is never active itself; it has no on_entry or on_exit")
        self._states[name] = State(
            name,
            parent,
            names(initial, f"the initial state of {name!r}"),
            parallel,
            final,
            history,
            calls("enter", on_entry, name),
            calls("exit", on_exit, name),
            calls("enter", on_initial, name),
            plain_output(output, name),
        )
        self._changed()
        return self

    def _check_state(self, name: str) -> None:
        checked_name(name, f"a state of state machine {self.name!r}")
        if name in self._states:
            raise DesignError(
                f"state machine {self.name!r} has a state {name!r} already; give this one another name"
            )
        if name == ANY:
            raise DesignError("a state cannot be called '*', which as a source means any state")

    def add_transition(
        self,
        source: str | Sequence[str],
        target: str | Sequence[str] | None = None,
        trigger: str | Sequence[str] | None = None,
        *,
        guard: Function | None = None,
        action: Functions = None,
        in_state: str | Sequence[str] | None = None,
        internal: bool = False,
        after: Duration | None = None,
        always: bool = False,
        retry: Policy | None = None,
    ) -> Self:
        """Add a transition and give the machine back.

        ``source`` is a state, several, or ``"*"``: whatever state the machine is in, save the target itself.
        Without a ``target`` the machine acts and stays. ``trigger`` names the event (``error`` also stands
        for ``error.execution`` and all below, ``*`` for any); ``after`` the time in the source after which
        the transition is taken; ``always`` one that waits for nothing. It is taken if ``guard`` gives
        something true and the states ``in_state`` are active. ``action`` is called on the way; ``retry``
        wraps it. An ``internal`` transition does not leave its source, which holds the target.

        A transition without trigger, after and always answers any event that no transition with a trigger
        claims: first the name of its target; then every event that is not the name of a state, in the order
        in which such transitions were added. One from ``"*"`` answers the name of its target only.
        """
        triggers = names(trigger, f"a trigger of state machine {self.name!r}")
        targets = names(target, f"a target of state machine {self.name!r}")
        for one in names(source, f"a source of state machine {self.name!r}"):
            where = label(one, targets)
            self._check_cue(where, triggers, after, always=always, targets=targets)
            guards = calls("guard", guard, where)
            if len(guards) > 1:
                raise DesignError(f"{where!r} has {len(guards)} guards; make them one function")
            transition = Transition(
                "",
                one,
                targets,
                triggers,
                guards[0] if guards else None,
                names(in_state, f"in_state of {where!r}"),
                calls("action", action, where, retry),
                internal,
                always,
                delay_ns(after, f"transition {where!r}"),
            )
            self._add(transition, where)
        self._changed()
        return self

    def _check_cue(
        self, where: str, triggers: tuple[str, ...], after: Any, *, always: bool, targets: tuple[str, ...]
    ) -> None:
        cues = [
            word
            for word, is_set in (("trigger", triggers), ("after", after is not None), ("always", always))
            if is_set
        ]
        if len(cues) > 1:
            raise DesignError(f"{where!r} has both {' and '.join(cues)}; add a transition for each")
        if not targets and not cues:
            raise DesignError(f"{where!r} has neither a target nor a trigger; name one of them")

    def _add(self, transition: Transition, where: str) -> None:
        cue = "" if transition.unnamed else f" {transition.cue}"
        taken = [one.id for one in self._transitions]
        name = unique(f"{where}{cue}", taken)
        fields = {field: getattr(transition, field) for field in Transition.__slots__}
        self._transitions.append(Transition(**(fields | {"id": name})))
        for state in (transition.source, *transition.targets):
            if state != ANY:
                self._implied[state] = None

    def _changed(self) -> None:
        self._chart = self._described = None
        if self._session is not None and self._session.active:
            raise DesignError(
                f"state machine {self.name!r} has been started; build it before you trigger events"
            )
        self._session = None

    @property
    def states(self) -> tuple[State, ...]:
        """All states: those that were added, then those that only transitions name."""
        implied = [State(name) for name in self._implied if name not in self._states]
        return (*self._states.values(), *implied)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The transitions in the order in which they were added."""
        return tuple(self._transitions)

    @property
    def steps(self) -> tuple[str, ...]:
        """The names that faults may select: of guards, actions and hooks, then of the states."""
        found = [
            call.name
            for state in self.states
            for call in (*state.on_entry, *state.on_exit, *state.on_initial)
        ]
        for one in self._transitions:
            found += [call.name for call in ((one.guard,) if one.guard else ()) + one.actions]
        points = ["start", "begin", "call", "step", "drop"] if self.journal else []
        return tuple(dict.fromkeys([*found, *(state.name for state in self.states), *points]))

    def chart(self) -> Chart:
        """Check that all parts fit together, and give the machine as a tree. Raise DesignError if not."""
        if self._chart is None:
            self._refuse_misspelt()
            self._chart = Chart(self.name, self.states, self._transitions, self.initial)
        return self._chart

    def _refuse_misspelt(self) -> None:
        """Where states are added one by one, a name that only a transition knows is most likely a slip."""
        drawn = (name for one in self._transitions for name in (one.source, *one.targets))
        known = [name for name in dict.fromkeys((*self._states, *drawn)) if name != ANY]
        for name in self.initial:
            if name not in known and known:
                raise DesignError(
                    f"the initial state {name!r} of state machine {self.name!r} is in none of its "
                    f"transitions{did_you_mean(name, known) or '; add it, or name one of ' + ', '.join(known)}"
                )
        for name in self._implied if self._states else ():
            hint = did_you_mean(name, self._states)
            if name not in self._states and (hint or self._is_strict()):
                raise DesignError(
                    f"{name!r} is no state of state machine {self.name!r}{hint or '; add it with add_state'}"
                )

    def _is_strict(self) -> bool:
        """Whether all states are to be added: so it is once one of them has a place in another."""
        return any(state.parent or state.parallel or state.history for state in self._states.values())

    def described(self, session: Session) -> dict[str, Any]:
        """Give the machine as plain data, for the history, with the key of a session that has one."""
        if self._described is None:
            self._described = Plain.of(describe(self))
        keeper = session.keeper
        return self._described if keeper is None else {**self._described, "key": keeper.key}

    # -- running --

    def session(
        self, given: Any = None, /, *, key: str | None = None, data: Mapping[str, Any] | None = None
    ) -> Session:
        """Make one life of the machine, to be triggered by hand; the machine itself stays as it is.

        ``given`` is the ``input`` that functions find in their context, ``data`` is laid over the machine's
        own. A machine with a journal needs a ``key`` that names this life in it.
        """
        own = deepcopy(self._data) | dict(data or {})
        if self.journal is None:
            if key is not None:
                raise DesignError(
                    f"state machine {self.name!r} has no journal, so key={key!r} names nothing in it"
                )
            return Session(self, own, given, None)
        if key is None:
            raise DesignError(
                f"state machine {self.name!r} has a journal, so each session needs a name in it: session(key=...)"
            )
        keeper = Keeper(self.journal, key, mark_first=self.actions == "at_most_once")
        return Session(self, own, given, keeper)

    async def run(
        self, given: Any = None, /, *script: Happening, key: str | None = None
    ) -> str | tuple[str, ...]:
        """Live once from start to end, and give the state in which that is.

        ``given`` is the input. The ``script`` says what happens: events (``"pay"``, or ``("pay", 20)`` with
        what comes with it) and times that pass (``timedelta(minutes=5)``), each when the one before is dealt
        with; or each event with the time since the start at which it comes (:class:`At`). After it the run
        goes on until the machine is in a final state; a machine without one ends when nothing is going on in
        it any more.

        With a journal the run goes on where an earlier one under that key stood, and the script where it
        stood; ``key`` is ``given`` if that is a text.
        """
        if self.journal is not None and key is None and isinstance(given, str):
            key = given
        check_script(script)
        session = self.session(given, key=key)
        with span("machine", self.name, self.name, data=self.described(session)) as whole:
            session.born = whole.index
            await session.start()
            await play(session, script)
            await session.wait(until_done=any(state.final and not state.parent for state in self.states))
            whole.data = {"state": session.state}
            return session.state

    def execute(
        self, given: Any = None, /, *script: Happening, seed: int = 0, nemesis: Nemesis | None = None
    ) -> str | tuple[str, ...]:
        """Run once in virtual time and wait for it: the blocking form of ``run``."""
        state: str | tuple[str, ...] = execute("machine", self.run, (given, *script), seed, nemesis)
        return state

    def trigger(self, event: str, payload: Any = None) -> Awaitable[bool]:
        """Hand the machine's own session an event; True if a transition answered it.

        Inside an event loop await it. Where none runs it blocks, in virtual time, and gives the bool itself;
        time then passes by :meth:`advance` alone.
        """
        session = self._own()
        if _inside_loop():
            return session.trigger(event, payload)
        return self._block(session.trigger, event, payload)  # type: ignore[no-any-return]

    def advance(self, duration: Duration) -> Awaitable[None]:
        """Let time pass, so that timers come due: awaitable inside a loop, blocking outside, as ``trigger``."""
        seconds = parse_duration(duration, "advance") / NS_PER_SECOND
        if _inside_loop():
            return sleep(seconds)
        return self._block(sleep, seconds)  # type: ignore[no-any-return]

    def _block(self, act: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        """Act where no loop runs: in the simulation that the code is part of, else in one for this call."""
        if current() is not None:
            return execute("machine", act, args, 0, None)
        return execute("machine", self._attached, (act, *args), 0, None)

    async def _attached(self, act: Any, *args: Any) -> Any:
        """Act on the machine's own session from a loop that lives for this one call."""
        session = self._own()
        await session.start()
        session.timers.resume()
        try:
            return await act(*args)
        finally:
            session.timers.pause()

    def _own(self) -> Session:
        if self._session is None:
            self._session = self.session(key=self.name if self.journal else None)
        return self._session

    @property
    def state(self) -> str | tuple[str, ...]:
        """Where the machine's own session is: its atomic state, several where regions are parallel."""
        return self._own().state

    @property
    def data(self) -> dict[str, Any]:
        """The data of the machine's own session."""
        return self._own().data

    def in_state(self, name: str) -> bool:
        """Tell whether the machine's own session is in a state."""
        return self._own().in_state(name)

    def __repr__(self) -> str:
        return f"<StateMachine {self.name!r}: {', '.join(state.name for state in self.states)}>"

    # -- looking at it --

    def check(self) -> tuple[Problem, ...]:
        """Look for what is most likely a mistake; see :class:`Problem` for the kinds.

        States that cannot be reached, states without a way out, transitions that contradict or hide each
        other. Raise DesignError if the parts do not even fit together.
        """
        from wfsim.workflows._statemachine._checks import check

        return check(self)

    def answers(self, event: str) -> bool:
        """Tell whether any state of the machine has an answer to an event, whatever its guards would say."""
        chart = self.chart()
        return any(chart.candidates(node, event) for node in chart.nodes.values() if node.is_leaf)

    def to_mermaid(self) -> str:
        """Draw the machine: the text of a Mermaid ``stateDiagram-v2``."""
        from wfsim.workflows._statemachine._mermaid import to_mermaid

        return to_mermaid(self)


def _inside_loop() -> bool:
    if running_loop() is not None:
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _one_of(option: str, value: Any, allowed: Sequence[str]) -> Any:
    if value in allowed:
        return value
    hint = did_you_mean(str(value), allowed)
    raise DesignError(f"{option}={value!r} is unknown{hint}; allowed: {', '.join(allowed)}")
