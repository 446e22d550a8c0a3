"""Which states a transition enters and leaves, by the rules of SCXML's appendix D.

Plain functions of the chart and of what was active before: nothing here calls the user's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.workflows._statemachine._chart import Arrow, Node, domain_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Entry:
    """The states that a step enters. ``past`` is what each history state remembers."""

    def __init__(self, past: Mapping[str, Sequence[Node]]) -> None:
        self._past = past
        self._found: dict[int, Node] = {}
        self.by_default: dict[int, Node] = {}  # compound states that are entered where they begin
        self.without_past: dict[int, Node] = {}  # history states with nothing to remember, by their parent

    def nodes(self) -> list[Node]:
        """Give the states to enter, in entry order: document order."""
        return [self._found[order] for order in sorted(self._found)]

    def begin(self, root: Node) -> None:
        """Enter the machine."""
        for target in root.initial:
            self._down(target)
        for target in root.initial:
            self._up(target, root)

    def follow(self, arrow: Arrow) -> None:
        """Enter what an arrow leads to."""
        if not arrow.targets:
            return
        effective = effective_targets(arrow.targets, self._past)
        domain = arrow.domain or domain_of(arrow, effective)
        for target in arrow.targets:
            self._down(target)
        for target in effective:
            self._up(target, domain)

    def _down(self, node: Node) -> None:
        if node.history:
            self._revive(node)
            return
        self._found[node.order] = node
        if node.is_leaf:
            return
        if node.parallel:
            self._regions(node)
            return
        self.by_default[node.order] = node
        self._all(node.initial, node)

    def _revive(self, history: Node) -> None:
        parent = history.parent
        assert parent is not None  # noqa: S101 - the chart refuses a history state without one
        remembered = self._past.get(history.name)
        if remembered is None:
            if history.arrows:
                self.without_past[parent.order] = history
            else:
                self.by_default[parent.order] = parent
            remembered = default_of(history)
        self._all(remembered, parent)

    def _all(self, targets: Iterable[Node], ancestor: Node) -> None:
        targets = list(targets)
        for target in targets:
            self._down(target)
        for target in targets:
            self._up(target, ancestor)

    def _up(self, node: Node, ancestor: Node) -> None:
        for above in node.up:
            if above is ancestor:
                break
            self._found[above.order] = above
            if above.parallel:
                self._regions(above)

    def _regions(self, parallel: Node) -> None:
        for region in parallel.children:
            if not region.history and not any(
                region.order <= order <= region.reaches for order in self._found
            ):
                self._down(region)


def default_of(history: Node) -> tuple[Node, ...]:
    """Give where a history state leads that has nothing to remember."""
    if history.arrows:
        return history.arrows[0].targets
    parent: Any = history.parent
    return tuple(parent.initial) or tuple(child for child in parent.children if not child.history)


def effective_targets(targets: Iterable[Node], past: Mapping[str, Sequence[Node]]) -> list[Node]:
    """Replace the history states among the targets by what they stand for now."""
    found: dict[Node, None] = {}
    for target in targets:
        if not target.history:
            found[target] = None
            continue
        remembered = past.get(target.name)
        for node in default_of(target) if remembered is None else remembered:
            found.update(dict.fromkeys(effective_targets((node,), past)))
    return list(found)


def exit_set(
    arrows: Iterable[Arrow], active: Sequence[Node], past: Mapping[str, Sequence[Node]]
) -> list[Node]:
    """Give the active states that these arrows leave, in exit order: reverse document order."""
    found: dict[int, Node] = {}
    for arrow in arrows:
        if arrow.targets:
            domain = arrow.domain or domain_of(arrow, effective_targets(arrow.targets, past))
            found.update((node.order, node) for node in active if domain.holds(node))
    return [found[order] for order in sorted(found, reverse=True)]


def without_conflicts(
    enabled: Sequence[Arrow], active: Sequence[Node], past: Mapping[str, Sequence[Node]]
) -> list[Arrow]:
    """Of arrows that would leave the same state keep one: the more deeply nested, else the first."""
    kept: list[Arrow] = []
    leaves = {arrow.order: exit_set([arrow], active, past) for arrow in enabled}
    for arrow in enabled:
        rivals = [other for other in kept if _meet(leaves[arrow.order], leaves[other.order])]
        if all(other.source.holds(arrow.source) for other in rivals):
            kept = [other for other in kept if other not in rivals]
            kept.append(arrow)
    return kept


def _meet(one: Sequence[Node], other: Sequence[Node]) -> bool:
    return any(node in other for node in one)


def is_over(node: Node, active: Sequence[Node]) -> bool:
    """Tell whether a state is in a final state: a parallel one if all its regions are."""
    if node.parallel:
        return all(is_over(child, active) for child in node.children if not child.history)
    return any(child.is_final and child in active for child in node.children)


def remembered(history: Node, active: Sequence[Node]) -> list[Node]:
    """Give what a history state keeps when its parent is left: the active children, or the leaves below."""
    parent: Any = history.parent
    if history.history == "deep":
        return [node for node in active if node.is_leaf and parent.holds(node)]
    return [node for node in active if node.parent is parent]
