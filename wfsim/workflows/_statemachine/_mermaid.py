"""A machine as a drawing: the text of a Mermaid ``stateDiagram-v2``.

https://mermaid.js.org/syntax/stateDiagram.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wfsim.workflows._statemachine._parts import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wfsim.workflows._statemachine._machine import StateMachine
    from wfsim.workflows._statemachine._parts import State, Transition

_STEP = "    "
_PLAIN = re.compile(r"[A-Za-z_]\w*")
# What Mermaid takes for its own.
_TAKEN = re.compile(
    r"acc(descr|title)|as|class(def)?|click|default|direction|end|hide|href|note|scale|state|style",
    re.IGNORECASE,
)
# What would end a label, or be taken for markup; a "_" inside a word is just that.
_SPECIAL = re.compile(r'[":;#<%*`]|(?<!\w)_|_(?!\w)')


def to_mermaid(machine: StateMachine) -> str:
    """Write the diagram."""
    machine.chart()
    return "\n".join(["stateDiagram-v2", *_Drawing(machine).lines(), ""])


class _Drawing:
    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._states = machine.states
        self._ids = _ids([state.name for state in self._states])
        self._finals = [state.name for state in self._states if state.final]

    def lines(self) -> Iterator[str]:
        yield from self._inside(None, self._machine.initial, 1)
        for one in self._machine.transitions:
            yield from self._arrows(one)

    def _inside(self, parent: str | None, initial: Sequence[str], depth: int) -> Iterator[str]:
        margin = _STEP * depth
        children = [state for state in self._states if state.parent == parent]
        holder = next((state for state in self._states if state.name == parent), None)
        if holder is None or not holder.parallel:
            proper = [state.name for state in children if not state.history]
            for name in initial or proper[:1]:
                yield f"{margin}[*] --> {self._ids[name]}"
        for place, state in enumerate(children):
            if place and holder is not None and holder.parallel:
                yield f"{margin}--"
            yield from self._state(state, depth)

    def _state(self, state: State, depth: int) -> Iterator[str]:
        margin, name = _STEP * depth, self._ids[state.name]
        hooks = [("entry", call.name) for call in state.on_entry]
        hooks += [("exit", call.name) for call in state.on_exit]
        told = [f"{word} / {_text(call)}" for word, call in hooks]
        title = _text(state.name)
        if state.history:
            title += f" (H{_text('*') if state.history == 'deep' else ''})"
        if any(one.parent == state.name for one in self._states):
            yield from self._group(state, f"{title} ({', '.join(told)})" if told else title, depth)
        else:
            # Without a title of its own a state is shown by its first line alone.
            yield f"{margin}{name}" if title == name and not told else f'{margin}state "{title}" as {name}'
            yield from (f"{margin}{name} : {one}" for one in told)
        if state.final:
            yield f"{margin}{name} --> [*]"

    def _group(self, state: State, title: str, depth: int) -> Iterator[str]:
        """Draw a state and those inside it: its title is all that Mermaid writes on it."""
        margin, name = _STEP * depth, self._ids[state.name]
        yield f"{margin}state {name} {{" if title == name else f'{margin}state "{title}" as {name} {{'
        yield from self._inside(state.name, state.initial, depth + 1)
        yield f"{margin}}}"

    def _arrows(self, one: Transition) -> Iterator[str]:
        told = self._label(one)
        for source in self._sources(one):
            for target in one.targets or (source,):
                yield f"{_STEP}{self._ids[source]} --> {self._ids[target]}{told}"

    def _sources(self, one: Transition) -> list[str]:
        if one.source != ANY:
            return [one.source]
        top = [state for state in self._states if state.parent is None and not state.final]
        return [state.name for state in top if state.name not in one.targets]

    def _label(self, one: Transition) -> str:
        cue = " or ".join(one.triggers) if one.triggers else "" if one.unnamed else one.cue
        conditions = [one.guard.name] if one.guard else []
        conditions += [f"in {name}" for name in one.in_state]
        parts = [cue] if cue else []
        if conditions:
            parts.append(f"[{' and '.join(conditions)}]")
        if one.actions:
            parts.append(f"/ {', '.join(call.name for call in one.actions)}")
        if not one.targets or one.internal:
            parts.append("(stays)")
        return f" : {_text(' '.join(parts))}" if parts else ""


def _ids(names: Sequence[str]) -> dict[str, str]:
    """Give each name one that Mermaid can read: itself, or a number that is nobody's name."""
    found: dict[str, str] = {}
    for place, name in enumerate(names):
        one = name
        if not _PLAIN.fullmatch(name) or _TAKEN.fullmatch(name):
            one = f"s{place}"
            while one in names:
                one += "_"
        found[name] = one
    return found


def _text(text: str) -> str:
    """Write what would end a label, or change it, by its number."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", " ".join(text.splitlines()))
