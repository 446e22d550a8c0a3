"""Which effect takes back which: read off what a saga does forward and back in each of its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError
from wfsim.nemesis import fail
from wfsim.words._play import Scene, play

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wfsim.history import History

_TRIES: Final = 100  # more than a policy that gives up will make; one that never does comes through


def learned(scenes: Sequence[Scene]) -> dict[str, str | None]:
    """Learn it from these runs, a healthy one, and a few in which one step after the other fails.

    Raise DesignError if it cannot be learned: then it must be said.
    """
    sentence = scenes[0].sentence
    design = sentence.subject.example
    steps: Any = getattr(design, "steps", ())
    if not steps or not all(hasattr(step, "compensate") for step in steps):
        raise DesignError(
            f"{type(design).__name__} {sentence.subject.name!r} does not say what takes back what; name it: "
            "then_nothing_left_behind({'card charged': 'card refunded'})"
        )
    if sentence.subject.remembers:
        raise DesignError(
            f"{sentence.subject.name!r} {sentence.subject.remembers}, so it cannot be played to learn what takes back "
            "what; give a function that makes it, given(make), or name it: then_nothing_left_behind({...})"
        )
    healthy = replace(sentence, faults=())
    failing = [step.name for step in steps if not getattr(step, "retriable", False)]
    probes = [play(healthy), *(play(healthy, fail(name, count=_TRIES)) for name in failing)]
    forward, back = _effects([*scenes, *probes], "forward"), _effects([*scenes, *probes], "compensate")
    found: dict[str, str | None] = {}
    for step in steps:
        found |= _paired(step.name, forward.get(step.name, []), back.get(step.name, []))
    if not found:
        raise DesignError(
            f"{type(design).__name__} {sentence.subject.name!r} leaves no effects to judge; let its steps tell them: "
            "effect('card charged', order)"
        )
    return found


def _paired(step: str, forward: list[str], back: list[str]) -> dict[str, str | None]:
    if not back:
        return dict.fromkeys(forward)
    if len(forward) != len(back):
        raise DesignError(
            f"step {step!r} has the effects {', '.join(forward)} and takes back {', '.join(back)}: which takes back "
            "which? then_nothing_left_behind({...})"
        )
    return dict(zip(forward, reversed(back), strict=True))


def _effects(scenes: Iterable[Scene], kind: str) -> dict[str, list[str]]:
    """Give the names of the effects in each step, or in its compensation."""
    found: dict[str, list[str]] = {}
    for scene in scenes:
        history: History = scene.history
        for op in history.where(type="invoke", kind=kind):
            for one in history.within(op.index):
                names = found.setdefault(op.name, [])
                if one.kind == "effect" and one.name not in names:
                    names.append(one.name)
    return {name: names for name, names in found.items() if names}
