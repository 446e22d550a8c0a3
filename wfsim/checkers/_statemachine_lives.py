"""The lives of state machines that a history holds: from a start to an end, across the crashes between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wfsim.history import History, Op


@dataclass(slots=True)
class Life:
    """All that one state machine did. One with a journal goes on under its key after a crash."""

    design: str
    key: str | None
    definition: Mapping[str, Any]
    ops: list[Op] = field(default_factory=list)
    replaced: bool = False
    """Whether a crash cut it off, and its process began another one in its place, which knows nothing of it."""

    @property
    def title(self) -> str:
        """What to call it in a message: ``state machine order (order-1)``."""
        return f"state machine {self.design}" + ("" if self.key is None else f" ({self.key})")

    @property
    def start(self) -> int:
        """The operation with which it began."""
        return self.ops[0].index

    @property
    def processes(self) -> list[str]:
        """The processes that it lived in."""
        return list(dict.fromkeys(op.process for op in self.ops if op.kind == "machine"))

    def of(self, *kinds: str) -> list[Op]:
        """Give its operations of some kinds; of calls, where they began."""
        return [op for op in self.ops if op.kind in kinds and op.invoke is None]

    @property
    def states(self) -> list[str]:
        """The atomic states it was last in."""
        made = self.of("transition", "resume")
        if not made:
            return []
        return list(made[-1].data.get("in" if made[-1].kind == "resume" else "to", ()))

    def around(self, names: Iterable[str]) -> dict[str, None]:
        """Give states and all those that they are inside of."""
        known = self.definition.get("states") or {}
        found: dict[str, None] = {}
        for name in names:
            one: Any = name
            while one is not None and one not in found:
                found[one] = None
                one = (known.get(one) or {}).get("parent")
        return found


def lives(history: History, design: str | None = None) -> list[Life]:
    """Give the lives in the order in which they began, of one machine if it is named.

    What belongs to a life is found by causes: each of its operations was led to by its start.
    """
    owner: dict[int, Life] = {}
    keyed: dict[tuple[str, str], Life] = {}
    found: list[Life] = []
    for op in history:
        life = None if op.kind == "process" else _owner(op, owner, keyed, found)
        if life is not None:
            owner[op.index] = life
            life.ops.append(op)
    for place, life in enumerate(found):
        later = found[place + 1 :]
        life.replaced = _is_cut_off(history, life) and any(_takes_over(other, life) for other in later)
    return [life for life in found if design is None or life.design == design]


def _is_cut_off(history: History, life: Life) -> bool:
    last = life.ops[-1]
    crashes = history.where(kind="process", name="crash", process=last.process)
    return any(op.index > last.index for op in crashes)


def _takes_over(other: Life, life: Life) -> bool:
    return other.design == life.design and other.key is None and other.processes == life.processes


def _owner(
    op: Op, owner: dict[int, Life], keyed: dict[tuple[str, str], Life], found: list[Life]
) -> Life | None:
    if op.invoke is not None:
        return owner.get(op.invoke)
    if op.kind != "machine":
        return None if op.cause is None else owner.get(op.cause)
    key = op.data.get("key")
    name = (op.design, str(key))
    if key is not None and name in keyed:
        return keyed[name]
    life = Life(op.design, key, op.data)
    found.append(life)
    if key is not None:
        keyed[name] = life
    return life


def listed(names: Iterable[str]) -> str:
    """Write states for a message: ``'a'``, ``'a' and 'b'``."""
    return " and ".join(repr(name) for name in names) or "no state"
