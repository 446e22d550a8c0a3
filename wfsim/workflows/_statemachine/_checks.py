"""What can be seen to be wrong with a machine without running it.

Nothing here is an error of the parts, which the chart refuses; each finding is legal, and most likely not
meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wfsim.workflows._statemachine._chart import Arrow, Chart, Node
    from wfsim.workflows._statemachine._machine import StateMachine

ProblemKind: TypeAlias = Literal["unreachable", "dead end", "ambiguous", "shadowed", "endless"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One likely mistake.

    ``kind`` is "unreachable" (no path from the start leads to the state), "dead end" (a state that is not
    final and that nothing leaves), "ambiguous" (two transitions out of one state on one event, and nothing
    says which), "shadowed" (a transition that can never be taken, because another always comes first) or
    "endless" (eventless transitions without a condition that run in a circle). ``parts`` are the names of
    the states or transitions.
    """

    kind: ProblemKind
    message: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return self.message


def check(machine: StateMachine) -> tuple[Problem, ...]:
    """Look for all kinds of mistakes, in the order of :class:`Problem`."""
    chart = machine.chart()
    reached = _reached(chart)
    found = [
        *_unreachable(chart, reached),
        *_dead_ends(chart, reached),
        *_hidden(chart),
        *_endless(chart),
    ]
    return tuple(found)


def _reached(chart: Chart) -> dict[Node, None]:
    """Give what can be active, whatever guards say: the graph of entering, walked from the start."""
    import networkx as nx  # late: it takes longer to import than all of wfsim

    graph: nx.DiGraph[Node] = nx.DiGraph()
    graph.add_node(chart.root)
    for node in (chart.root, *chart.nodes.values()):
        if node.parent is not None:
            graph.add_edge(node, node.parent)  # to be in a state is to be in those around it
        graph.add_edges_from((node, child) for child in _entered_with(node))
    for arrow in chart.arrows:
        graph.add_edges_from((arrow.source, target) for target in arrow.targets)
    return dict.fromkeys([chart.root, *nx.descendants(graph, chart.root)])


def _entered_with(node: Node) -> Iterable[Node]:
    """Give what a node brings with it when it is entered."""
    if node.history:
        assert node.parent is not None  # noqa: S101 - a history state has one
        return () if node.arrows else (node.parent,)
    return [child for child in node.children if not child.history] if node.parallel else node.initial


def _unreachable(chart: Chart, reached: dict[Node, None]) -> Iterator[Problem]:
    for node in chart.nodes.values():
        if node not in reached and (node.parent is None or node.parent in reached):
            inside = " and the states inside it" if node.children else ""
            yield Problem(
                "unreachable",
                f"state {node.name!r}{inside} can never be reached: no transition leads to it from where the "
                "machine can be",
                (node.name,),
            )


def _dead_ends(chart: Chart, reached: dict[Node, None]) -> Iterator[Problem]:
    for node in chart.nodes.values():
        if not node.is_leaf or node.is_final or node.history or node not in reached:
            continue
        if not any(_leads_out(arrow, node) for one in (node, *node.up) for arrow in _all_arrows(one)):
            yield Problem(
                "dead end",
                f"nothing leads out of state {node.name!r}, and it is not final; add a transition, or "
                "final=True if the machine may end there",
                (node.name,),
            )


def _leads_out(arrow: Arrow, leaf: Node) -> bool:
    if not arrow.targets:
        return False
    if any(region.parallel for region in leaf.up):  # another region may move on and take the whole with it
        return True
    return arrow.targets != (leaf,)


def _all_arrows(node: Node) -> list[Arrow]:
    return [*node.always, *node.arrows, *node.afters]


def _hidden(chart: Chart) -> Iterator[Problem]:
    """Find transitions that an earlier one without a condition keeps from ever being taken."""
    pairs: dict[tuple[Arrow, Arrow], None] = {}
    for node in chart.nodes.values():
        for queue in _queues(node):
            for place, later in enumerate(queue):
                first = next((one for one in queue[:place] if _hides(one, later)), None)
                if first is not None:
                    pairs[later, first] = None
    for later in dict.fromkeys(later for later, _ in pairs):
        rivals = [first for one, first in pairs if one is later]
        if later.source.up and all(first.source is later.source for first in rivals):
            yield _rivals(rivals[0], later)
        elif _is_hidden_everywhere(chart, later):
            yield _overruled(rivals, later)


def _queues(node: Node) -> Iterator[list[Arrow]]:
    if node.is_leaf and not node.history:
        chain = (node, *node.up)
        yield [arrow for one in chain for arrow in one.arrows if arrow.events]
        yield [arrow for one in chain for arrow in one.always]


def _hides(first: Arrow, later: Arrow) -> bool:
    if first.guard or first.in_state or first.unless:
        return False
    if not later.events:
        return not first.events
    return all(any(_covers(one, other) for one in first.events) for other in later.events)


def _covers(one: str, other: str) -> bool:
    """Tell whether all events that the second descriptor matches, the first does too."""
    one, other = one.removesuffix(".*"), other.removesuffix(".*")
    return one in {"*", other} or other.startswith(f"{one}.")


def _rivals(first: Arrow, later: Arrow) -> Problem:
    what = f"{first.id!r} and {later.id!r}"
    cue = " and ".join(repr(event) for event in later.events)
    if later.guard or later.in_state or first.events != later.events:
        return Problem(
            "shadowed",
            f"{later.id!r} is never taken: {first.id!r} comes first and has no guard; add the one with the guard "
            "before it",
            (later.id, first.id),
        )
    on = f"on {cue}" if cue else "without an event"
    return Problem(
        "ambiguous",
        f"{what} leave the same state {on}, both without a guard, so the first is always taken; guard one of "
        "them, or name another event",
        (first.id, later.id),
    )


def _is_hidden_everywhere(chart: Chart, later: Arrow) -> bool:
    """Tell whether a transition of a compound state is overruled in each state inside it."""
    leaves = [
        node
        for node in chart.nodes.values()
        if node.is_leaf
        and not node.history
        and not node.is_final
        and (node is later.source or later.source.holds(node))
    ]
    return bool(leaves) and all(
        any(_hides(first, later) for first in queue[: queue.index(later)])
        for leaf in leaves
        for queue in _queues(leaf)
        if later in queue
    )


def _overruled(rivals: list[Arrow], later: Arrow) -> Problem:
    names = ", ".join(dict.fromkeys(repr(first.id) for first in rivals))
    return Problem(
        "shadowed",
        f"{later.id!r} is never taken: in every state inside its source another comes first ({names})",
        (later.id, *dict.fromkeys(first.id for first in rivals)),
    )


def _endless(chart: Chart) -> Iterator[Problem]:
    """Find circles of eventless transitions that nothing can stop."""
    import networkx as nx  # late, as above

    graph: nx.DiGraph[Node] = nx.DiGraph()
    for arrow in chart.arrows:
        if arrow in arrow.source.always and not arrow.guard and not arrow.in_state:
            graph.add_edges_from((arrow.source, target) for target in arrow.targets or (arrow.source,))
    for cycle in nx.simple_cycles(graph):
        first = min(range(len(cycle)), key=lambda place: cycle[place].order)
        path = [node.name for node in (*cycle[first:], *cycle[:first], cycle[first])]
        yield Problem(
            "endless",
            f"eventless transitions without a condition run in a circle: {' -> '.join(path)}; guard one of them",
            tuple(path),
        )
