"""Sentences for what DAGs tell: tasks left out and cancelled, calls of mapped tasks, what agents cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.history import Op


def dag_fact(op: Op) -> str | None:
    """Tell a fact of a DAG; None if this is none."""
    tell = _SENTENCES.get(op.kind)
    return None if tell is None else tell(op)


def _left_out(op: Op) -> str:
    """``skips load, because clean failed``; ``cancels slow: nothing needs it any more``."""
    because, reason = op.data.get("because"), op.data.get("reason")
    why = f", because {because} failed" if because else f": {reason}" if reason else ""
    return f"{op.kind}s {op.name}{why}"


def _expansion(op: Op) -> str:
    count, kept = op.data.get("count", 0), op.data.get("kept", 0)
    again = f", {kept} of them kept from the run before" if kept else ""
    return f"maps {op.name} over {op.data.get('over')}: {count} {'call' if count == 1 else 'calls'}{again}"


def _cost(op: Op) -> str:
    cost = op.data.get("cost")
    price = f"{cost:.6g}" if isinstance(cost, int | float) else str(cost)
    return f"{op.name} costs {price} ({op.data.get('agent')})"


_SENTENCES: Final[dict[str, Callable[[Op], str]]] = {
    "skip": _left_out,
    "cancel": _left_out,
    "expand": _expansion,
    "cost": _cost,
}
