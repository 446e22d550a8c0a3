"""Whether a DAG deserves its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._dag._view import edges_of
from wfsim.checkers._runs import design_runs
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.history import History


def no_cycle(history: History, *, design: str | None = None) -> Verdict:
    """No DAG's dependencies lead back to where they began. ``design`` names the DAG to judge, all if None."""
    findings = Findings("no_cycle")
    for run in design_runs(history, "dag", design):
        edges = edges_of(run)
        findings.judged += bool(edges)
        cycle = find_cycle(edges)
        if cycle:
            findings.breach(f"{run.title}: {' -> '.join(cycle)} is a cycle", run.whole.index)
    return findings.verdict("DAG run", "no cycle", "no DAG ran")


def find_cycle(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give one cycle of the graph, its first name repeated last; empty if there is none.

    Depth first, without recursion: ``path`` is the way from a start to where the walk stands.
    """
    done: set[str] = set()  # only asked, never walked
    for start in edges:
        path: list[str] = []
        stack = [(start, iter((start,)))]
        while stack:
            name = next(stack[-1][1], None)
            if name is None:
                stack.pop()
                if path and stack:
                    done.add(path.pop())
            elif name in path:
                return (*path[path.index(name) :], name)
            elif name not in done:
                path.append(name)
                stack.append((name, iter(edges.get(name, ()))))
    return ()
