"""An expectation: a checker with its options, and whether it is meant to hold or to break."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wfsim.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.checkers import Verdict
    from wfsim.harness._run import Run


@dataclass(frozen=True, slots=True)
class Expectation:
    """``checker(history, **options)`` must hold; or, with ``breaks``, must find a violation.

    A demonstration of a broken design says ``breaks``: it passes exactly when the checker finds the
    break. A checker that carries the attribute ``judges_run`` is given the Run in place of the history.
    """

    name: str
    checker: Callable[..., Verdict]
    options: Mapping[str, Any] = field(default_factory=dict)
    breaks: bool = False

    def judge(self, run: Run) -> Verdict:
        """Return the checker's verdict on one run."""
        subject = run if getattr(self.checker, "judges_run", False) else run.history
        return self.checker(subject, **self.options)

    def met(self, verdict: Verdict) -> bool | str:
        """Return whether ``verdict`` is what was expected: True, False or "unknown"."""
        if verdict.valid == "unknown":
            return "unknown"
        return (not verdict.valid) if self.breaks else bool(verdict.valid)

    def __str__(self) -> str:
        """Read as a scenario file would say it: ``success_rate(at_least=0.9)``."""
        options = ", ".join(_option(name, value) for name, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


def _option(name: str, value: Any) -> str:
    if name.endswith("_ns"):
        return f"{name.removesuffix('_ns')}={format_duration(value)}"
    return f"{name}={value}"


def holds(checker: Callable[..., Verdict], **options: Any) -> Expectation:
    """Return the expectation that ``checker`` finds nothing wrong."""
    return Expectation(checker.__name__, checker, options)


def breaks(checker: Callable[..., Verdict], **options: Any) -> Expectation:
    """Return the expectation that ``checker`` finds a violation: the design is known to be broken."""
    return Expectation(checker.__name__, checker, options, breaks=True)
