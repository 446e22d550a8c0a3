"""Every failure point: for each fault point that a run passed, the faults that could have struck there."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wfsim.errors import DesignError
from wfsim.nemesis import Rule, crash, duplicate, fail, lose_event, lose_reply
from wfsim.units import format_duration
from wfsim.words._play import ANSWERS
from wfsim.workflows import Choreography

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wfsim.words._stagehand import Passage
    from wfsim.words._subject import Subject

Shorthand: TypeAlias = Callable[..., Rule]

_RESTART: Final = "1s"
_OWN_BUSINESS: Final = frozenset({"lock", "service", "timer"})


def usual_faults(subject: Subject) -> tuple[Shorthand, ...]:
    """Give the faults that a design like this must cope with: crashes only if something survives them."""
    design = subject.example
    found: list[Shorthand] = [fail, lose_reply]
    if getattr(design, "journal", None) is not None or _restarts(design):
        found.append(crash)
    return (*found, lose_event, duplicate) if subject.bus is not None else tuple(found)


def _restarts(design: Any) -> bool:
    return isinstance(design, Choreography) and any(
        service.restart_after_s is not None for service in design.services
    )


def rules_for(
    subject: Subject, passed: Sequence[Passage], shorthands: Sequence[Shorthand]
) -> tuple[Rule, ...]:
    """Give for each passage the rules that strike there and nowhere before, the plainest faults first."""
    found: dict[str, Rule] = {}
    points = [place for place, passage in enumerate(passed) if not _is_of_the_test(passage, subject)]
    for shorthand in shorthands:
        for place in points:
            for rule in _candidates(shorthand, passed[place]):
                if _first(rule, passed) == place:
                    found.setdefault(repr(rule.describe()), rule)
                    break
    return tuple(found.values())


def _is_of_the_test(passage: Passage, subject: Subject) -> bool:
    """Tell whether only the test would be struck: what stands in for others, what the sentence publishes."""
    if passage.kind == "handle":  # also the bus's own listener, which hears answers to requests
        return passage.name.startswith(ANSWERS) or passage.topic.endswith(".answers")
    runs = isinstance(subject.example, Choreography) and passage.process == subject.name
    return passage.is_own_doing or (passage.point == "publish" and runs)


def _candidates(shorthand: Shorthand, passage: Passage) -> Iterator[Rule]:
    """Give rules for a passage, those with the fewest words first."""
    parameters = inspect.signature(shorthand).parameters
    fixed: dict[str, Any] = {"count": 1}
    if shorthand is crash:
        fixed["restart_after"] = _RESTART
    if "to" in parameters and passage.is_of_event:
        name, words = passage.topic, _words_of_event(passage)
    elif "to" not in parameters and passage.kind not in _OWN_BUSINESS:
        name, words = passage.name, _words_of_call(passage)
    else:
        return
    if not _is_at_home(shorthand, passage):
        return
    for size in range(len(words) + 1):
        for chosen in combinations(words, size):
            yield _made(shorthand, name, fixed | {word: words[word] for word in chosen})


def _words_of_call(passage: Passage) -> dict[str, Any]:
    words = {
        "attempts": passage.attempt,
        "on": passage.kind,
        "point": passage.point,
        "process": passage.process,
        "design": passage.design,
        "after": format_duration(passage.time_ns),
    }
    return {word: value for word, value in words.items() if value}


def _words_of_event(passage: Passage) -> dict[str, Any]:
    words = {
        "to": passage.subscriber,
        "point": passage.point,
        "attempts": passage.attempt,
        "process": passage.process,
        "after": format_duration(passage.time_ns),
    }
    return {word: value for word, value in words.items() if value}


def _is_at_home(shorthand: Shorthand, passage: Passage) -> bool:
    """Tell whether this fault makes sense here: a crash anywhere in a process, a failure where a call is made."""
    if shorthand is crash:
        return passage.process != "main" and passage.point not in {"publish", "deliver", "ack"}
    if shorthand in {fail, lose_reply} and passage.kind == "guard":
        return shorthand is fail and passage.point == "call"
    if shorthand is duplicate:
        return passage.point in {"publish", "deliver"}
    if shorthand is lose_event:
        return passage.point in {"publish", "deliver", "ack"}
    return passage.point == ("reply" if shorthand is lose_reply else "call")


def _made(shorthand: Shorthand, name: str, options: dict[str, Any]) -> Rule:
    rule = shorthand(name, **options)
    if not isinstance(rule, Rule):
        raise DesignError(f"{shorthand!r} makes no fault; pass fail, lose_reply, crash or the like")
    return rule


def _first(rule: Rule, passed: Sequence[Passage]) -> int | None:
    """Find the passage at which a rule would strike first."""
    fits = (place for place, passage in enumerate(passed) if _strikes(rule, passage))
    return next(fits, None)


def _strikes(rule: Rule, passage: Passage) -> bool:
    attempts = (rule.attempt,) if isinstance(rule.attempt, int) else rule.attempt
    after_ns, before_ns = rule.window_ns
    return (
        rule.fits_place(passage.point, passage.kind, passage.design, passage.name)
        and (rule.fits_event(passage) if passage.is_of_event else not rule.is_of_events)
        and rule.fits_process(passage.process)
        and (attempts is None or passage.attempt in attempts)
        and after_ns <= passage.time_ns < before_ns
    )
