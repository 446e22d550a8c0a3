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
_WORDS = {"state", "end", "note", "direction", "class", "default", "style"}  # what Mermaid takes for its own


def to_mermaid(machine: StateMachine) -> str:
    """Write the diagram."""
    machine.chart()
    return "\n".join(["stateDiagram-v2", *_Drawing(machine).lines(), ""])


class _Drawing:
    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._states = machine.states
        self._ids = {state.name: _id(state.name, place) for place, state in enumerate(self._states)}
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
        if name != state.name or state.history:
            title = (
                f"{state.name} (H{'*' if state.history == 'deep' else ''})" if state.history else state.name
            )
            yield f'{margin}state "{_text(title)}" as {name}'
        if any(one.parent == state.name for one in self._states):
            yield f"{margin}state {name} {{"
            yield from self._inside(state.name, state.initial, depth + 1)
            yield f"{margin}}}"
        elif name == state.name and not state.history:
            yield f"{margin}{name}"
        for word, hooks in (("entry", state.on_entry), ("exit", state.on_exit)):
            for call in hooks:
                yield f"{margin}{name} : {word} / {_text(call.name)}"
        if state.final:
            yield f"{margin}{name} --> [*]"

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


def _id(name: str, place: int) -> str:
    """Give a name that Mermaid can read; one that it cannot gets a number."""
    return name if _PLAIN.fullmatch(name) and name.lower() not in _WORDS else f"s{place}"


def _text(text: str) -> str:
    """Take out what would end a label."""
    return text.replace('"', "'").replace(":", "#colon;").replace("\n", " ").replace(";", ",")
