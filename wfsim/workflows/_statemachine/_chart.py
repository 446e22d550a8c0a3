"""The machine as a tree of nodes with arrows between them: what its runs share, worked out once.

The words and the rules are those of W3C SCXML (State Chart XML, 2015, chapter 3 and appendix D). Document
order is the order in which states were added, children after their parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError
from wfsim.history import Plain
from wfsim.workflows._naming import did_you_mean
from wfsim.workflows._statemachine._parts import ANY, Call, State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_PLATFORM: Final = ("done.", "error.")
_MANY: Final = 10_000


class Node:
    """A state in its place. ``order`` is its place in document order; ``up`` its ancestors, nearest first."""

    __slots__ = (
        "afters",
        "always",
        "arrows",
        "children",
        "history",
        "initial",
        "is_final",
        "is_leaf",
        "name",
        "on_entry",
        "on_exit",
        "on_initial",
        "order",
        "output",
        "parallel",
        "parent",
        "plain",
        "reaches",
        "up",
    )

    def __init__(self, state: State, parent: Node | None) -> None:
        self.name = state.name
        self.parent = parent
        self.order = 0
        self.children: list[Node] = []
        self.history = state.history
        self.parallel = state.parallel
        self.is_final = state.final
        self.is_leaf = True
        self.initial: tuple[Node, ...] = ()
        self.on_entry: tuple[Call, ...] = state.on_entry
        self.on_exit: tuple[Call, ...] = state.on_exit
        self.on_initial: tuple[Call, ...] = state.on_initial
        self.output: Any = state.output
        self.arrows: list[Arrow] = []
        self.always: list[Arrow] = []
        self.afters: list[Arrow] = []
        self.up: tuple[Node, ...] = () if parent is None else (parent, *parent.up)
        self.reaches = 0  # the order of its last descendant
        self.plain = False  # an atomic state of the top level that does nothing when it is entered or left

    def holds(self, other: Node) -> bool:
        """Tell whether the other is a proper descendant."""
        return self.order < other.order <= self.reaches

    def __repr__(self) -> str:
        return f"<Node {self.name}>"


class Arrow:
    """A transition between nodes."""

    __slots__ = (
        "actions",
        "after_ns",
        "cue",
        "domain",
        "events",
        "guard",
        "id",
        "in_state",
        "internal",
        "is_simple",
        "order",
        "source",
        "targets",
        "unless",
        "unnamed",
    )

    def __init__(self, transition: Transition, order: int, source: Node, targets: tuple[Node, ...]) -> None:
        self.id = transition.id
        self.order = order
        self.source = source
        self.targets = targets
        self.events = transition.triggers
        self.guard = transition.guard
        self.in_state: tuple[Node, ...] = ()
        self.actions = transition.actions
        self.internal = transition.internal
        self.after_ns = transition.after_ns
        self.cue = transition.cue
        self.unnamed = transition.unnamed
        self.unless = targets if transition.source == ANY else ()
        self.domain: Node | None = None
        self.is_simple = False  # from one plain state to another, without condition or action


class Chart:
    """All nodes and arrows of a machine, checked to fit together."""

    def __init__(
        self,
        name: str,
        states: Sequence[State],
        transitions: Sequence[Transition],
        initial: tuple[str, ...],
    ) -> None:
        self.title = f"state machine {name!r}"
        self.root = Node(State("", initial=initial), None)
        self.nodes: dict[str, Node] = {}
        self._build(states)
        self.arrows: list[Arrow] = []
        for transition in transitions:
            self._connect(transition)
        for state in states:
            self._begin(self.nodes[state.name], state.initial)
        self._begin(self.root, initial)
        for node in self.nodes.values():
            self._check_history(node)
            node.plain = node.is_leaf and node.parent is self.root and self._is_plain(node)
        for arrow in self.arrows:
            self._finish(arrow)
        self.has_always = any(node.always for node in (self.root, *self.nodes.values()))
        self._candidates: dict[tuple[Node, str], tuple[Arrow, ...]] = {}
        self._facts: dict[tuple[object, ...], Plain] = {}

    # -- building --

    def _build(self, states: Sequence[State]) -> None:
        children: dict[str | None, list[State]] = {}
        known = {state.name: state for state in states}
        for state in states:
            if state.parent is not None and state.parent not in known:
                hint = did_you_mean(state.parent, known)
                raise DesignError(
                    f"the parent {state.parent!r} of state {state.name!r} is no state of {self.title}{hint}"
                )
            children.setdefault(state.parent, []).append(state)
        self._plant(self.root, children)
        lost = [state.name for state in states if state.name not in self.nodes]
        if lost:
            raise DesignError(f"the parents of {', '.join(lost)} in {self.title} run in a circle")

    def _plant(self, parent: Node, children: dict[str | None, list[State]]) -> None:
        """Add the children of a node, depth first, so that a parent comes before its descendants."""
        for state in children.get(parent.name or None, ()):
            if parent.is_final or parent.history:
                what = "final" if parent.is_final else "history"
                raise DesignError(
                    f"the {what} state {parent.name!r} of {self.title} has a child, {state.name!r}"
                )
            node = Node(state, parent)
            node.order = len(self.nodes) + 1
            self.nodes[state.name] = node
            parent.children.append(node)
            parent.is_leaf = False
            self._plant(node, children)
        parent.reaches = len(self.nodes)
        if parent.parallel and not parent.children:
            raise DesignError(
                f"the parallel state {parent.name!r} of {self.title} has no regions; add states with parent="
            )

    def node(self, name: str, part: str) -> Node:
        """Find a state by its name. Raise DesignError, with a close one, if there is none."""
        try:
            return self.nodes[name]
        except KeyError:
            hint = did_you_mean(name, self.nodes) or f"; its states: {', '.join(self.nodes) or 'none'}"
            raise DesignError(f"{part} is {name!r}, which is no state of {self.title}{hint}") from None

    def _connect(self, transition: Transition) -> None:
        part = f"transition {transition.id!r}"
        source = self.root if transition.source == ANY else self.node(transition.source, f"source of {part}")
        targets = tuple(self.node(name, f"target of {part}") for name in transition.targets)
        arrow = Arrow(transition, len(self.arrows), source, targets)
        arrow.in_state = tuple(self.node(name, f"in_state of {part}") for name in transition.in_state)
        if source.is_final:
            raise DesignError(
                f"{part} of {self.title} leads out of the final state {source.name!r}; a final state ends "
                f"what it is part of: drop the transition, or final=True"
            )
        self._check_targets(arrow, part)
        self.arrows.append(arrow)
        if transition.always:
            source.always.append(arrow)
        elif transition.after_ns is not None:
            source.afters.append(arrow)
        else:
            source.arrows.append(arrow)

    def _check_targets(self, arrow: Arrow, part: str) -> None:
        for one in arrow.targets:
            for other in arrow.targets:
                if one.order < other.order and not _side_by_side(one, other):
                    raise DesignError(
                        f"{part} of {self.title} leads to {one.name!r} and {other.name!r} at once, which are not in "
                        "different regions of a parallel state"
                    )
        if not arrow.internal:
            return
        if not arrow.targets or arrow.source.is_leaf or not all(map(arrow.source.holds, arrow.targets)):
            raise DesignError(
                f"{part} of {self.title} is internal, but does not lead from a compound state to a state inside "
                "it; to act without leaving a state give it no target at all"
            )

    def _begin(self, node: Node, initial: tuple[str, ...]) -> None:
        """Find out where a node begins: where it says, else in its first child."""
        if node.is_leaf:
            if initial:
                raise DesignError(
                    f"state {node.name!r} of {self.title} has an initial state, but no states inside it"
                )
            return
        part = f"initial of state {node.name!r}" if node.name else f"initial of {self.title}"
        found = tuple(self.node(name, part) for name in initial)
        for target in found:
            if not node.holds(target):
                raise DesignError(f"{part} is {target.name!r}, which is not inside it")
        if not found and not node.parallel:
            proper = [child for child in node.children if not child.history]
            if not proper:
                raise DesignError(f"state {node.name!r} of {self.title} holds nothing but a history state")
            found = (proper[0],)
        node.initial = found

    def _check_history(self, node: Node) -> None:
        if node.history is None:
            return
        part = f"history state {node.name!r} of {self.title}"
        arrows = [*node.arrows, *node.always, *node.afters]
        if len(arrows) > 1:
            raise DesignError(f"{part} has {len(arrows)} transitions; one says where to go without a past")
        for arrow in arrows:
            if not arrow.unnamed or arrow.guard or arrow.in_state or not arrow.targets:
                raise DesignError(
                    f"the default of {part} takes no trigger, time or guard, and needs a target"
                )
            assert node.parent is not None  # noqa: S101 - a history state has one
            if not all(map(node.parent.holds, arrow.targets)):
                raise DesignError(f"the default of {part} leads out of its parent {node.parent.name!r}")

    def _is_plain(self, node: Node) -> bool:
        return not (node.on_entry or node.on_exit or node.afters or node.is_final)

    def _finish(self, arrow: Arrow) -> None:
        """Work out what an arrow leaves, where that is always the same."""
        if arrow.targets and not any(target.history for target in arrow.targets):
            arrow.domain = domain_of(arrow, arrow.targets)
        arrow.is_simple = (
            arrow.source.plain
            and len(arrow.targets) == 1
            and arrow.targets[0].plain
            and not (arrow.guard or arrow.in_state or arrow.actions)
        )

    # -- asking --

    def candidates(self, leaf: Node, event: str) -> tuple[Arrow, ...]:
        """Give what may answer an event in an atomic state, in order of priority.

        Transitions of a state come before those of its ancestors, and in the order added. A transition
        without a trigger answers only what no named one on the way up claims: first the name of its target,
        then any event that is not the name of a state; one out of "*" nothing but the name of its target.
        """
        found = self._candidates.get((leaf, event))
        if found is None:
            if len(self._candidates) >= _MANY:
                self._candidates.clear()
            found = self._candidates[leaf, event] = self._find(leaf, event)
        return found

    def _find(self, leaf: Node, event: str) -> tuple[Arrow, ...]:
        chain = [arrow for node in (leaf, *leaf.up) for arrow in node.arrows]
        named = tuple(arrow for arrow in chain if arrow.events and matches(arrow.events, event))
        if named or event.startswith(_PLATFORM):
            return named
        unnamed = [arrow for arrow in chain if arrow.unnamed and arrow.targets]
        if event in self.nodes:
            return tuple(arrow for arrow in unnamed if any(node.name == event for node in arrow.targets))
        return tuple(arrow for arrow in unnamed if arrow.source is not self.root)

    def facts(
        self, cue: str, before: Sequence[Node], after: Sequence[Node], arrows: Sequence[Arrow]
    ) -> Plain:
        """Give what the history is told of a step: made once, since machines take the same steps often."""
        key = (cue, *before, None, *after, None, *arrows)
        facts = self._facts.get(key)
        if facts is None:
            if len(self._facts) >= _MANY:
                self._facts.clear()
            facts = self._facts[key] = Plain.of(
                {
                    "on": cue,
                    "from": [node.name for node in before if node.is_leaf],
                    "to": [node.name for node in after if node.is_leaf],
                    "taken": [arrow.id for arrow in arrows],
                }
            )
        return facts

    def start_leaves(self) -> tuple[Node, ...]:
        """Give the atomic states in which the machine begins, before it has done anything."""
        from wfsim.workflows._statemachine._entry import Entry

        entry = Entry({})
        entry.begin(self.root)
        return tuple(node for node in entry.nodes() if node.is_leaf)


def _side_by_side(one: Node, other: Node) -> bool:
    """Tell whether two states can be active at once: they are in different regions of a parallel state."""
    if one.holds(other):
        return True
    common = next(node for node in one.up if node.holds(other))
    return common.parallel


def domain_of(arrow: Arrow, targets: Iterable[Node]) -> Node:
    """Give the innermost state that stays active while the arrow is taken (SCXML's transition domain)."""
    targets = list(targets)
    source = arrow.source
    if arrow.internal and not source.parallel and all(map(source.holds, targets)):
        return source
    if not source.up:
        return source
    return next(
        node for node in source.up if (not node.parallel or not node.up) and all(map(node.holds, targets))
    )


def matches(descriptors: tuple[str, ...], event: str) -> bool:
    """Tell whether an event is one of these: the same name, or one of those below it, ``error.bank``.

    As in SCXML, ``error`` and ``error.*`` match ``error`` and all that begins with ``error.``; ``*`` is any.
    """
    for descriptor in descriptors:
        base = descriptor.removesuffix(".*").removesuffix(".")
        if base in {ANY, event} or event.startswith(f"{base}."):
            return True
    return False
