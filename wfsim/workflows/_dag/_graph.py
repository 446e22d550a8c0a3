"""Questions about the graph of a DAG: cycles, and who lies between a setup and its teardown."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wfsim.workflows._dag._task import Task


def cycle_through(name: str, edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give the cycle through ``name``, from the task added first back to it; empty if there is none."""
    import networkx as nx  # late: it takes longer to import than all of wfsim

    graph: nx.DiGraph[str] = nx.DiGraph([(task, other) for task, others in edges.items() for other in others])
    try:
        path = [start for start, _ in nx.find_cycle(graph, name)]
    except (nx.NetworkXNoCycle, nx.NodeNotFound):
        return ()
    first = path.index(min(path, key=list(edges).index))
    return (*path[first:], *path[:first], path[first])


def reachable(starts: Iterable[str], edges: Mapping[str, Sequence[str]]) -> dict[str, None]:
    """Give all that the edges lead to from here, nearest first, without the starts themselves."""
    found: dict[str, None] = {}
    queue = list(starts)
    for name in queue:  # grows while it is walked
        for other in edges.get(name, ()):
            if other not in found:
                found[other] = None
                queue.append(other)
    return found


class Scopes:
    """What setups and teardowns mean for the others, as Airflow has it.

    A task between a setup and its teardown runs only if the setup succeeded, also if it does not depend on it
    directly (``guards``: task -> such setups). So does every task after a setup that has no teardown. A
    teardown waits for all between the two (``scopes``: teardown -> those it does not depend on directly).
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._up = {task.name: task.depends_on for task in tasks}
        self.teardowns = {task.name: task.teardown_of for task in tasks if task.teardown_of}
        named = {setup for setups in self.teardowns.values() for setup in setups}
        self.setups = tuple(task.name for task in tasks if task.setup or task.name in named)
        self.guards: dict[str, tuple[str, ...]] = {}
        self.scopes: dict[str, tuple[str, ...]] = {}
        if self.setups:
            for name in self._up:
                self._look_around(name)

    @cached_property
    def _down(self) -> dict[str, list[str]]:
        down: dict[str, list[str]] = {name: [] for name in self._up}
        for name, others in self._up.items():
            for other in others:
                down[other].append(name)
        return down

    def _look_around(self, name: str) -> None:
        before = reachable([name], self._up)
        if name in self.teardowns:
            between = reachable([one for one in self._up[name] if one in self.setups], self._down)
            self.scopes[name] = tuple(one for one in before if one in between and one not in self._up[name])
        else:
            relevant = self.relevant_setups(name)
            self.guards[name] = tuple(setup for setup in relevant if setup not in self._up[name])

    def relevant_setups(self, name: str) -> tuple[str, ...]:
        """Give the setups before a task that it lives on: those without a teardown, or with one after it."""
        before, after = reachable([name], self._up), reachable([name], self._down)
        found = []
        for setup in (one for one in self.setups if one in before):
            ends = [one for one in self._down[setup] if one in self.teardowns]
            if not ends or any(end in after for end in ends):
                found.append(setup)
        return tuple(found)

    def after(self, name: str) -> dict[str, None]:
        """Give all tasks that come after one, the nearest first."""
        return reachable([name], self._down)
