"""How long and how big a history may become: from some size on the server warns, from another it ends the run.

The defaults are the server's (``limit.historyCount.*`` and ``limit.historySize.*`` of its dynamic configuration).
Sizes are near those that a server counts, which depend on how it stores events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim.checkers import Verdict
    from wfsim.history import History
    from wfsim_temporal.execution._execution import Execution

_KI: Final = 1024
_MI: Final = 1024 * 1024
HISTORY_LIMIT: Final = "history_limit"
_SHOWN: Final = 5
_TOO_MANY: Final = "Workflow history count exceeds limit."
_TOO_BIG: Final = "Workflow history size exceeds limit."


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """Numbers of events and of bytes.

    From ``suggest_*`` on the server suggests to continue as new. A history of more than ``warn_*`` is noted in the
    simulation's history (see the checker ``history_within_limits``), one of more than ``max_*`` ends its run.
    """

    suggest_events: int = 4 * _KI
    suggest_bytes: int = 4 * _MI
    warn_events: int = 10 * _KI
    warn_bytes: int = 10 * _MI
    max_events: int = 50 * _KI
    max_bytes: int = 50 * _MI

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if type(value) is not int or value < 1:
                raise DesignError(
                    f"{one.name}={value!r} of HistoryLimits must be a whole number of 1 or more"
                )

    def suggests(self, events: int, size: int) -> bool:
        """Tell whether to continue as new is suggested to a workflow task whose start is event number ``events``."""
        return events >= self.suggest_events or size >= self.suggest_bytes


_DYNAMIC: Final = {
    "limit.historyCount.suggestContinueAsNew": "suggest_events",
    "limit.historySize.suggestContinueAsNew": "suggest_bytes",
    "limit.historyCount.warn": "warn_events",
    "limit.historySize.warn": "warn_bytes",
    "limit.historyCount.error": "max_events",
    "limit.historySize.error": "max_bytes",
}


def configured(limits: HistoryLimits, arguments: Sequence[str]) -> HistoryLimits:
    """Give the limits that the arguments of a development server ask for (``--dynamic-config-value key=number``)."""
    told = dict(one.split("=", 1) for one in arguments if "=" in one)
    return replace(limits, **{name: int(told[key]) for key, name in _DYNAMIC.items() if key in told})


class LimitCheck:
    """Watches the history of one run. ``reason`` says why it has ended it; "" while it has not."""

    __slots__ = ("_execution", "_has_warned", "_limits", "reason")

    def __init__(self, execution: Execution, limits: HistoryLimits) -> None:
        self._execution = execution
        self._limits = limits
        self._has_warned = False
        self.reason = ""

    def refuses(self, more: int) -> bool:
        """End the run if so many more events are too many, or if it is too big; tell whether it has ended.

        What exceeds a limit is not written any more; the server refuses all that happened at once.
        """
        execution, limits = self._execution, self._limits
        events, size = len(execution.log) + more, execution.log.size
        if not self._has_warned and (events > limits.warn_events or size > limits.warn_bytes):
            self._has_warned = True
            execution.journal.fact(HISTORY_LIMIT, "warned", events=events, bytes=size)
        self.reason = _TOO_MANY if events > limits.max_events else _TOO_BIG if size > limits.max_bytes else ""
        if self.reason:
            execution.journal.fact(HISTORY_LIMIT, "exceeded", events=events, bytes=size)
            execution.server.terminate(execution, self.reason, identity="history-service")
        return bool(self.reason)


def history_within_limits(history: History, /) -> Verdict:
    """No workflow's history came near the server's limits: none was so long, or so big, that it would warn."""
    from wfsim.checkers import Verdict

    found = history.where(kind=HISTORY_LIMIT)
    told = "; ".join(
        f"the history of {op.design} {op.process!r} has {op.data['events']} events and {op.data['bytes']} bytes"
        for op in found[:_SHOWN]
    )
    runs = len(history.where(kind="workflow", type="invoke"))
    valid: Any = not found if runs else "unknown"
    kept = f"{runs} runs: no history near a limit" if runs else "no workflow ran"
    return Verdict("history_within_limits", valid, told or kept, tuple(op.index for op in found))
