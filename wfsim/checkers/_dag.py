"""Whether a DAG deserves its name, and each task waits for what it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.checkers._runs import DesignRun, design_runs, end_of
from wfsim.checkers._verdict import Findings, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.history import History


def no_cycle(history: History, *, design: str | None = None) -> Verdict:
    """No DAG's dependencies lead back to where they began. ``design`` names the DAG to judge, all if None."""
    findings = Findings("no_cycle")
    for run in design_runs(history, "dag", design):
        edges = _edges(run)
        findings.judged += bool(edges)
        cycle = find_cycle(edges)
        if cycle:
            findings.breach(f"{run.title}: {' -> '.join(cycle)} is a cycle", run.whole.index)
    return findings.verdict("DAG run", "no cycle", "no DAG ran")


def dependencies_respected(history: History, *, design: str | None = None) -> Verdict:
    """No task started before each task it depends on had succeeded.

    ``design`` names the DAG to judge, all if None.
    """
    findings = Findings("dependencies_respected")
    for run in design_runs(history, "dag", design):
        _judge_starts(run, findings)
    return findings.verdict(
        "DAG run", "each task waited for what it depends on", "no task that depends on another was run"
    )


def _judge_starts(run: DesignRun, findings: Findings) -> None:
    edges, tasks = _edges(run), run.by_name("task")
    findings.judged += any(edges.get(name) for name in tasks)
    for name, tries in tasks.items():
        start = tries[0].index
        for other in edges.get(name, ()):
            ends = [end_of(one) for one in tasks.get(other, ()) if one.outcome == "ok"]
            if not ends:
                had = "failed" if other in tasks else "never ran"
                findings.breach(
                    f"{run.title}: {name!r} started although {other!r}, which it depends on, {had}", start
                )
            elif min(ends) > start:
                message = (
                    f"{run.title}: {name!r} started before {other!r}, which it depends on, had succeeded"
                )
                findings.breach(message, start, min(ends))


def _edges(run: DesignRun) -> dict[str, list[str]]:
    tasks = run.whole.data.get("tasks")
    return {str(name): list(others) for name, others in tasks.items()} if isinstance(tasks, dict) else {}


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
