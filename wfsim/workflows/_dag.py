"""The DAG: tasks that depend on each other, each run as soon as it may, side by side with the others."""

from __future__ import annotations

from asyncio import CancelledError, Queue, TaskGroup
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import CycleError, DesignError
from wfsim.history import Plain
from wfsim.kernel import event, span
from wfsim.workflows._execute import execute
from wfsim.workflows._failure import note_once, origin_of
from wfsim.workflows._naming import checked_name, did_you_mean
from wfsim.workflows._policy import Policy, check_policy, perform_under
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from wfsim.kernel import Nemesis


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a DAG.

    ``run`` (or ``func``, which is the same) does the work: a function, a coroutine function or a lambda that
    returns a coroutine. ``agent`` names one of the DAG's agents to do it instead. The task starts when all of
    ``depends_on`` have succeeded. ``retry`` wraps the work.

    The work is given the results of ``depends_on``, in that order, or nothing if it takes no argument. If the
    task depends on nothing and takes one argument, that is the input of the whole DAG.
    """

    name: str
    run: Callable[..., Any] | None = None
    depends_on: Sequence[str] = ()
    func: Callable[..., Any] | None = None
    retry: Policy | None = None
    agent: str | None = None

    def __post_init__(self) -> None:
        part = f"task {checked_name(self.name, 'a task')!r}"
        if sum(way is not None for way in (self.run, self.func, self.agent)) != 1:
            raise DesignError(f"{part} needs one of run=, func= and agent= to say what it does, and only one")
        check_policy(self.retry, f"retry of {part}")
        object.__setattr__(self, "run", self.run if self.func is None else self.func)
        object.__setattr__(self, "func", None)
        object.__setattr__(self, "depends_on", _names(self.depends_on, part))
        if self.run is not None:
            _passes_results(self.run, len(self.depends_on), part)


class DAGWorkflow:
    """Tasks with dependencies, run in parallel as far as these allow.

    ::

        dag = DAGWorkflow(name="build")
        dag.add_task("fetch", func=fetch)
        dag.add_task("compile", func=compile, depends_on=["fetch"])
        results = await dag.run()  # {"fetch": ..., "compile": ...}

    ``run`` gives the results by task. When a task fails, what depends on it is skipped; everything else still
    runs to its end, as in Airflow and Prefect. Then ``run`` raises the first task's error, with a note that
    names the tasks that failed and those that were skipped. When the run is cancelled, all its tasks are.

    A task may depend on one that is added later. The ``add_task`` that closes a cycle raises CycleError.
    """

    def __init__(
        self,
        tasks: Iterable[Task] = (),
        *,
        name: str = "dag",
        agents: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.name = checked_name(name, "a DAG")
        self._tasks: dict[str, Task] = {}
        self._agents = dict(agents or {})
        self._plan: _Plan | None = None
        # Names that were depended on before there was such a task. Only asked, never walked.
        self._awaited: set[str] = set()
        if isinstance(tasks, str):
            raise DesignError(
                f"the tasks of a DAG come first; for its name write DAGWorkflow(name={tasks!r})"
            )
        for task in tasks:
            self._add(task)
        self._refuse_unknown()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order in which they were added."""
        return tuple(self._tasks.values())

    def add_task(
        self,
        name: str,
        run: Callable[..., Any] | None = None,
        *,
        func: Callable[..., Any] | None = None,
        depends_on: Sequence[str] = (),
        retry: Policy | None = None,
        agent: str | None = None,
    ) -> Self:
        """Add a task and give the DAG back; :class:`Task` says what the arguments mean.

        Raise DesignError if the task cannot work, CycleError if it closes a cycle.
        """
        self._add(Task(name, run, depends_on, func, retry, agent))
        return self

    def _add(self, task: Task) -> None:
        if not isinstance(task, Task):
            raise DesignError(f"{task!r} is no task of dag {self.name!r}; write Task(name, run=...)")
        if task.name in self._tasks:
            raise DesignError(
                f"dag {self.name!r} has a task {task.name!r} already; give this one another name"
            )
        if task.agent in self._agents:
            _passes_results(self._agents[task.agent], len(task.depends_on), f"agent of task {task.name!r}")
        self._refuse_cycle(task)
        self._tasks[task.name] = task
        self._awaited.update(name for name in task.depends_on if name not in self._tasks)
        self._plan = None

    def _refuse_cycle(self, task: Task) -> None:
        if task.name in task.depends_on:
            raise CycleError((task.name, task.name))
        # Only a task that others wait for, and that itself leads on to known ones, can close a cycle.
        if task.name in self._awaited and any(name in self._tasks for name in task.depends_on):
            edges = {known.name: known.depends_on for known in (*self.tasks, task)}
            cycle = _cycle_through(task.name, edges)
            if cycle:
                raise CycleError(cycle)

    def _refuse_unknown(self) -> None:
        for task in self.tasks:
            for name in task.depends_on:
                if name not in self._tasks:
                    hint = did_you_mean(name, self._tasks)
                    raise DesignError(
                        f"task {task.name!r} of dag {self.name!r} depends on {name!r}, which it has not{hint}"
                    )

    def _planned(self) -> _Plan:
        """Work out, once, all that stays the same from run to run. Raise DesignError if a part is missing."""
        if self._plan is None:
            if not self._tasks:
                raise DesignError(f"dag {self.name!r} has no tasks; add them with add_task(name, func=...)")
            self._refuse_unknown()
            self._plan = _Plan(self.tasks, [self._work_of(task) for task in self.tasks])
        return self._plan

    def _work_of(self, task: Task) -> Callable[..., Any]:
        if task.run is not None:
            return task.run
        agent = str(task.agent)
        if agent in self._agents:
            return self._agents[agent]
        hint = did_you_mean(agent, self._agents) or f"; give it: DAGWorkflow(agents={{{agent!r}: function}})"
        raise DesignError(
            f"task {task.name!r} of dag {self.name!r} needs agent {agent!r}, which the dag has not{hint}"
        )

    async def run(self, *given: Any) -> dict[str, Any]:
        """Run all tasks once and give their results by name. ``given``, at most one, is the DAG's input."""
        plan = self._planned()
        if len(given) > 1:
            raise DesignError(
                f"dag {self.name!r} takes one input at most, not {len(given)}; put them in one object"
            )
        if plan.needs_input and not given:
            raise DesignError(
                f"task {plan.needs_input!r} of dag {self.name!r} takes an argument but depends on nothing; "
                "name what it depends on, or give the dag an input: run(input)"
            )
        with span("dag", self.name, self.name, data=plan.data) as whole:
            return await _Run(self.name, plan, given, whole).play()

    def execute(self, *given: Any, seed: int = 0, nemesis: Nemesis | None = None) -> dict[str, Any]:
        """Run all tasks once in virtual time, and wait for them: the blocking form of ``run``.

        Blocking code inside a simulation runs them there, under that one's seed and
        faults. Raise DesignError inside a coroutine.
        """
        results: dict[str, Any] = execute("dag", self.run, given, seed, nemesis)
        return results

    def __repr__(self) -> str:
        return f"<DAGWorkflow {self.name!r}: {', '.join(self._tasks) or 'no tasks'}>"


class _Plan:
    """What a run of a DAG needs to know and every run shares."""

    def __init__(self, tasks: Sequence[Task], works: Sequence[Callable[..., Any]]) -> None:
        self.tasks = tuple(tasks)
        self.works = {task.name: work for task, work in zip(tasks, works, strict=True)}
        self.passes = {
            task.name: _passes_results(work, len(task.depends_on), f"task {task.name!r}")
            for task, work in zip(tasks, works, strict=True)
        }
        self.dependants: dict[str, list[Task]] = {task.name: [] for task in tasks}
        for task in tasks:
            for name in task.depends_on:
                self.dependants[name].append(task)
        self.roots = tuple(task for task in tasks if not task.depends_on)
        self.needs_input = next((task.name for task in self.roots if self.passes[task.name]), None)
        data: dict[str, Any] = {"tasks": {task.name: list(task.depends_on) for task in tasks}}
        policies = {task.name: task.retry.describe() for task in tasks if task.retry is not None}
        self.data = Plain.of(data | ({"retry": policies} if policies else {}))


class _Run:
    """One run of a DAG. Its own coroutine starts the tasks; each task says when it has ended."""

    def __init__(self, name: str, plan: _Plan, given: tuple[Any, ...], whole: span) -> None:
        self._name = name
        self._plan = plan
        self._given = given
        self._whole = whole
        self._missing = {task.name: len(task.depends_on) for task in plan.tasks}
        self._results: dict[str, Any] = {}
        self._errors: dict[str, BaseException] = {}
        self._skipped: dict[str, str] = {}  # task -> the failed task that it cannot do without
        self._ended: Queue[Task] = Queue()

    async def play(self) -> dict[str, Any]:
        ready, running = list(self._plan.roots), 0
        async with TaskGroup() as group:
            while ready or running:
                for task in ready:
                    group.create_task(self._work(task), name=f"{self._name}/{task.name}")
                running += len(ready) - 1
                ready = self._ready_after(await self._ended.get())
        if self._errors:
            raise self._failure()
        return {task.name: self._results[task.name] for task in self._plan.tasks}

    async def _work(self, task: Task) -> None:
        name, plan = task.name, self._plan
        args = (
            tuple(self._results[one] for one in task.depends_on) or self._given if plan.passes[name] else ()
        )
        try:
            self._results[name] = await perform_under(
                task.retry, "task", self._name, name, plan.works[name], args
            )
        except (Exception, CancelledError) as error:
            self._errors[name] = error
            if isinstance(error, CancelledError):
                raise
        finally:
            self._ended.put_nowait(task)

    def _ready_after(self, ended: Task) -> list[Task]:
        """Give the tasks that can start now that this one has ended. If it failed, skip what needs it."""
        dependants = self._plan.dependants[ended.name]
        if ended.name in self._errors:
            self._skip(ended.name)
            return []
        for task in dependants:
            self._missing[task.name] -= 1
        return [task for task in dependants if not self._missing[task.name]]

    def _skip(self, failed: str) -> None:
        cause = origin_of(self._errors[failed])
        reached = [failed]
        for name in reached:  # grows while it is walked
            for task in self._plan.dependants[name]:
                if task.name not in self._skipped:
                    self._skipped[task.name] = failed
                    event("skip", task.name, design=self._name, cause=cause, data={"because": failed})
                    reached.append(task.name)

    def _failure(self) -> BaseException:
        """Give the first error, with a note of what else did not happen."""
        failed, skipped = list(self._errors), list(self._skipped)
        self._whole.data = {"failed": failed} | ({"skipped": skipped} if skipped else {})
        error = self._errors[failed[0]]
        also = f"; failed too: {', '.join(failed[1:])}" if failed[1:] else ""
        left = f"; skipped: {', '.join(skipped)}" if skipped else ""
        note = f"dag {self._name!r} failed at task {failed[0]!r}{also}{left}"
        note_once(error, note)
        return error


def _names(depends_on: Sequence[str], part: str) -> tuple[str, ...]:
    if isinstance(depends_on, str):
        raise DesignError(f"depends_on of {part} must be a list; write depends_on=[{depends_on!r}]")
    names = tuple(checked_name(name, f"what {part} depends on") for name in depends_on)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DesignError(f"{part} depends on {twice!r} twice; name it once")
    return names


def _passes_results(fn: Callable[..., Any], count: int, part: str) -> bool:
    """Tell whether a function wants the results of its task's ``count`` dependencies; for 0, the input."""
    wanted = takes(fn, part)
    if not wanted.least and (wanted.most is not None or not count):
        return False
    if wanted.fits(max(count, 1)):
        return True
    given = (
        f"{count} result{'' if count == 1 else 's'} to take, in the order of depends_on"
        if count
        else "only an input"
    )
    raise DesignError(f"{part} takes {wanted}, but has {given}; let it take as many, or none")


def _cycle_through(name: str, edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give the cycle through ``name``, from the task added first back to it; empty if there is none."""
    import networkx as nx  # late: it takes longer to import than all of wfsim

    graph: nx.DiGraph[str] = nx.DiGraph([(task, other) for task, others in edges.items() for other in others])
    try:
        path = [start for start, _ in nx.find_cycle(graph, name)]
    except nx.NetworkXNoCycle:
        return ()
    first = path.index(min(path, key=list(edges).index))
    return (*path[first:], *path[:first], path[first])
