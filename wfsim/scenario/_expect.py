"""The ``expect`` section: checkers by name, which must hold or (in a demonstration) must break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim import checkers, harness
from wfsim.errors import DesignError
from wfsim.harness import Expectation
from wfsim.history import History
from wfsim.scenario._plugins import plugins
from wfsim.scenario._problems import Problems, Wrong, Wrongs, unknown
from wfsim.scenario._validate import read_options, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.checkers import Verdict
    from wfsim.scenario._yaml import Path

_OF_A_WORKLOAD = ("success_rate", "completes_within", "effect_count", "effect_undone", "op_count", "outcome")
_SECTIONS = ("holds", "breaks")
_BREAKS = (
    "what a design is expected to break stands in a list of its own: expect: {holds: [...], breaks: [...]}"
)


def known_checkers() -> dict[str, Callable[..., Verdict]]:
    """Return wfsim's own checkers by name."""
    found = {name: getattr(harness, name) for name in _OF_A_WORKLOAD}
    for name in checkers.__all__:
        if name[0].islower():
            found[name] = getattr(checkers, name)
    return found


def read_expectations(value: Any, path: Path, problems: Problems) -> tuple[Expectation, ...]:
    """Return all expectations; a list alone is what must hold."""
    if value is None:
        return ()
    if isinstance(value, list):
        return _read_list(value, path, problems, breaks=False)
    found: tuple[Expectation, ...] = ()
    with problems.at(path):
        if not isinstance(value, dict):
            raise Wrong(f"expected a list of expectations, got {shown(value)}", allowed=_SECTIONS)
        for key, entries in value.items():
            if key not in _SECTIONS:
                problems.add(path, unknown("key", key, _SECTIONS, at=(key,), key=True))
            else:
                found += _read_list(entries, (*path, key), problems, breaks=key == "breaks")
    return found


def _read_list(value: Any, path: Path, problems: Problems, *, breaks: bool) -> tuple[Expectation, ...]:
    found = []
    with problems.at(path):
        if not isinstance(value, list) or not value:
            got = "an empty one" if value == [] else shown(value)
            raise Wrong(f"expected a list of checkers, got {got}", allowed=sorted(known_checkers()))
        for number, entry in enumerate(value):
            with problems.at((*path, number)):
                found.append(_read_entry(entry, breaks=breaks))
    return tuple(found)


def _read_entry(entry: Any, *, breaks: bool) -> Expectation:
    """Read ``checker`` or ``checker: options``."""
    at: Path = ()
    if isinstance(entry, str):
        name, given = entry, None
    elif isinstance(entry, dict) and len(entry) == 1:
        name, given = next(iter(entry.items()))
        at = (name,)
    else:
        got = f"the keys {', '.join(entry)}" if isinstance(entry, dict) and entry else shown(entry)
        raise Wrong(f"expected one checker, alone or with its options, got {got}; {_BREAKS}")
    if name in _SECTIONS:
        raise Wrong(f"'{name}' is no checker; {_BREAKS}", at=at, key=True)
    checker = _checker(name, at)
    try:
        options = read_options(checker, given)
        _rehearse(checker, options)
        return Expectation(name, checker, options, breaks=breaks)
    except (Wrong, Wrongs) as error:
        for wrong in error.all if isinstance(error, Wrongs) else (error,):
            wrong.at = (*at, *wrong.at)
        raise


def _rehearse(checker: Callable[..., Verdict], options: dict[str, Any]) -> None:
    """Let wfsim's own checkers refuse what they are given before anything is played. Raises Wrong."""
    if checker not in known_checkers().values() or getattr(checker, "judges_run", False):
        return
    try:
        checker(History(()), **options)
    except DesignError as error:
        raise Wrong(str(error)) from error


def _checker(name: str, at: Path) -> Callable[..., Verdict]:
    own = known_checkers()
    if name in own:
        return own[name]
    added = plugins().checkers
    if name in added:
        return added[name]
    raise unknown("checker", name, sorted({**own, **added}), at=at, key=True)
