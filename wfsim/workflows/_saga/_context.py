"""What a step of a saga may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from wfsim.kernel import current
from wfsim.workflows._naming import did_you_mean


class Context(Mapping[str, Any]):
    """What a step may ask for: the results of the steps before it by name, and the saga's ``input``.

    A compensation also finds the ``error`` that made the saga turn back.

    ``key`` names the instance of the saga; ``idempotency_key`` names the one effect that the step at hand is to
    have in it. It is the same at every try, and after a crash when the saga is resumed: pass it on to
    the service, which then does the work of one key once. A compensation has a key of its own.
    """

    __slots__ = ("_design", "_key", "_results", "error", "input", "step")

    def __init__(self, given: Any, results: dict[str, Any], design: str, key: str | None) -> None:
        self.input = given
        self.error: BaseException | None = None
        self.step = ""
        self._design = design
        self._key = key
        self._results = results

    @property
    def key(self) -> str:
        """The name of this instance of the saga: the one it was given, or else a random one."""
        if self._key is None:
            self._key = _random_key(self._design)
        return self._key

    @property
    def idempotency_key(self) -> str:
        """The name of the effect that this step, or its compensation, is to have: ``saga/instance/step``."""
        undo = "" if self.error is None else "/compensate"
        return f"{self._design}/{self.key}/{self.step}{undo}"

    def at(self, step: str, *, error: BaseException | None = None) -> Context:
        """Give the context of one step; steps that run side by side need one each."""
        mine = Context(self.input, self._results, self._design, self.key)
        mine.step = step
        mine.error = error
        return mine

    def as_arguments(self) -> dict[str, Any]:
        """What a step is given, for a history that records arguments."""
        return {"input": self.input, "results": dict(self._results)}

    def __getitem__(self, name: str) -> Any:
        try:
            return self._results[name]
        except KeyError:
            done = ", ".join(self._results) or "none"
            hint = did_you_mean(name, self._results)
            raise KeyError(f"no step {name!r} has succeeded so far (succeeded: {done}){hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


def _random_key(design: str) -> str:
    """Draw a name: in a simulation from its own stream, elsewhere from the machine's chance."""
    simulation = current()
    if simulation is not None:
        return f"{simulation.stream(f'saga/{design}/key').randrange(1 << 64):016x}"
    return os.urandom(8).hex()  # noqa: TID251 - two instances must never share a key
