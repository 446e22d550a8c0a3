"""The problems of one file, collected so that all are told at once."""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from wfsim.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wfsim.scenario._yaml import Document, Path


class ScenarioErrors(ScenarioError):
    """Everything that is wrong with a scenario file. ``errors`` holds each problem, in the file's order.

    It is itself a ScenarioError with the place of the first problem; its text lists them all.
    """

    def __init__(self, errors: Iterable[ScenarioError]) -> None:
        self.errors = tuple(errors)
        super().__init__(*self.errors[0].args)
        self.args = (self.errors,)

    def __str__(self) -> str:
        """Return one line for each problem."""
        return "\n".join(str(error) for error in self.errors)


class Wrong(ValueError):
    """Raised by what reads one value: what is wrong, what is allowed, and the nearest allowed word.

    ``at`` leads further down, from the value that is read to the part that is wrong; ``key`` blames the key.
    """

    def __init__(
        self,
        problem: str,
        *,
        allowed: Iterable[str] = (),
        suggestion: str = "",
        at: Path = (),
        key: bool = False,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.allowed = tuple(allowed)
        self.suggestion = suggestion
        self.at = at
        self.key = key


class Wrongs(ValueError):
    """Several problems of one value."""

    def __init__(self, wrongs: Iterable[Wrong]) -> None:
        self.all = tuple(wrongs)
        super().__init__("; ".join(wrong.problem for wrong in self.all))


class Collected:
    """Collects the problems of one value, so that its parts do not hide each other's."""

    def __init__(self) -> None:
        self.wrongs: list[Wrong] = []

    @contextmanager
    def at(self, path: Path = ()) -> Iterator[None]:
        """Note what the block finds wrong with the part at ``path``, and go on after the block."""
        try:
            yield
        except (Wrong, Wrongs) as error:
            for wrong in error.all if isinstance(error, Wrongs) else (error,):
                wrong.at = (*path, *wrong.at)
                self.wrongs.append(wrong)

    def raise_if_any(self) -> None:
        """Raise all that was noted, together."""
        if self.wrongs:
            raise Wrongs(self.wrongs)


class Problems:
    """Collects what is wrong with one file."""

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self.document = document
        self.errors: list[ScenarioError] = []
        for place, path, problem, hint in document.faults:
            self._add(place, path, Wrong(f"{problem}; {hint}" if hint else problem))

    def add(self, path: Path, error: Wrong | Wrongs) -> None:
        """Note what is wrong with the value at ``path``."""
        for wrong in error.all if isinstance(error, Wrongs) else (error,):
            inner = (*path, *wrong.at)
            self._add(self.document.place(inner, key=wrong.key), inner, wrong)

    @contextmanager
    def at(self, path: Path) -> Iterator[None]:
        """Note what the block finds wrong with the value at ``path``, and go on after the block."""
        try:
            yield
        except (Wrong, Wrongs) as error:
            self.add(path, error)

    def _add(self, place: tuple[int, int], path: Path, wrong: Wrong) -> None:
        line, column = place
        error = ScenarioError(
            wrong.problem, self.file, line, column, field_of(path), wrong.allowed, wrong.suggestion
        )
        known = [(one.place, one.field) for one in self.errors]
        if (error.place, error.field) not in known:  # what follows from a problem is not told as another
            self.errors.append(error)

    def all(self) -> ScenarioErrors:
        """Return all problems together, in the order of the file."""
        return ScenarioErrors(sorted(self.errors, key=lambda error: (error.line, error.column)))


def field_of(path: Path) -> str:
    """Write a path as people do: ``design.steps[2].latency``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: object, allowed: Iterable[str]) -> str:
    """Return the allowed word that was probably meant, or nothing."""
    if not isinstance(word, str):
        return ""
    by_plain = {_plain(name): name for name in allowed}
    close = get_close_matches(_plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[close[0]] if close else ""


def unknown(what: str, word: object, allowed: Iterable[str], *, at: Path = (), key: bool = False) -> Wrong:
    """Return the problem of a word that is not among the allowed ones."""
    names = tuple(allowed)
    return Wrong(f"unknown {what} {word!r}", allowed=names, suggestion=nearest(word, names), at=at, key=key)


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
