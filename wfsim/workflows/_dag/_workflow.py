"""The DAG: tasks that depend on each other, each run as soon as it may, side by side with the others."""

from __future__ import annotations

from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, cast, overload

from wfsim.errors import CycleError, DesignError
from wfsim.history import Plain
from wfsim.kernel import span
from wfsim.storage import Journal
from wfsim.workflows._dag._agent import as_agents
from wfsim.workflows._dag._durable import Keeper
from wfsim.workflows._dag._graph import cycle_through
from wfsim.workflows._dag._makespan import Makespan, expected_makespan
from wfsim.workflows._dag._plan import Options, Plan, check_plan, describe
from wfsim.workflows._dag._resume import kept_of
from wfsim.workflows._dag._run import Run
from wfsim.workflows._dag._schedule import Schedule, schedule
from wfsim.workflows._dag._task import Task, is_flow, passes_results
from wfsim.workflows._execute import execute
from wfsim.workflows._naming import checked_name, did_you_mean, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from wfsim.kernel import Nemesis
    from wfsim.units import Duration
    from wfsim.workflows._dag._agent import Agent
    from wfsim.workflows._dag._latency import Latency
    from wfsim.workflows._dag._result import DAGResult
    from wfsim.workflows._dag._resume import Kept
    from wfsim.workflows._dag._rules import TriggerRule
    from wfsim.workflows._dag._task import Named, Place
    from wfsim.workflows._policy import Policy


class DAGWorkflow:
    """Tasks with dependencies, run in parallel as far as these allow.

    ::

        dag = DAGWorkflow(name="build")
        dag.add_task("fetch", func=fetch)
        dag.add_task("compile", func=compile, depends_on=["fetch"])
        results = await dag.run()  # {"fetch": ..., "compile": ...}

    ``@dag.task`` makes a task of a function, ``dag["fetch"]`` gives one by name, and ``>>`` joins them:
    ``dag["fetch"] >> [clean, enrich] >> load``. :class:`Task` says what can be said of a task.

    ``run`` gives the results by task, of those that succeeded. When a task fails, what depends on it is
    skipped (unless its trigger rule says otherwise); everything else still runs to its end, as in Airflow and
    Prefect. The run has failed if a leaf, a task on which no other depends, failed or could not run. It then
    raises the first task's error, with a note that names the tasks that failed and those that were skipped.
    When the run is cancelled, all its tasks are, and the teardowns of what was set up still run.

    At most ``max_parallel`` tasks are at work at a time. With ``fail_fast`` the first failure cancels the
    tasks that run and skips the others. With ``cancel_unneeded`` a task is cancelled when all that depend on
    it have been decided without it.

    With a ``journal`` the result of each task is durable before anything follows from it. A run of the same
    ``key`` (a text or number given as input is one) goes on where an earlier one was cut off by a crash: what has
    ended keeps its result, all else runs; what failed is tried again, and all that comes after it. A run that
    had succeeded is not repeated: its results are given once more. A crash between a task's work and its record
    repeats the task.

    A task may depend on one that is added later. What closes a cycle raises CycleError.
    """

    def __init__(
        self,
        tasks: Iterable[Task] = (),
        *,
        name: str = "dag",
        agents: Mapping[str, Callable[..., Any] | Agent] | Iterable[Agent] | None = None,
        max_parallel: int | None = None,
        fail_fast: bool = False,
        cancel_unneeded: bool = False,
        journal: Journal | None = None,
    ) -> None:
        self.name = checked_name(name, "a DAG")
        if journal is not None and (isinstance(journal, type) or not isinstance(journal, Journal)):
            raise DesignError(
                f"journal of dag {name!r} is {journal!r}, which has no append and read; "
                "write for example journal=MemoryJournal() or SQLiteJournal('runs.db')"
            )
        self.journal = journal
        if max_parallel is not None and (type(max_parallel) is not int or max_parallel < 1):
            raise DesignError(
                f"max_parallel of dag {name!r} is {max_parallel!r}; it must be 1 or more, or None for no limit"
            )
        self._options = Options(max_parallel, fail_fast, cancel_unneeded, journal is not None)
        self._tasks: dict[str, Task] = {}
        self._agents = as_agents(agents or {}, f"dag {name!r}")
        self._plan: Plan | None = None
        self._data = Plain()
        # Names that were depended on before there was such a task. Only asked, never walked.
        self._awaited: set[str] = set()
        if isinstance(tasks, str):
            raise DesignError(
                f"the tasks of a DAG come first; for its name write DAGWorkflow(name={tasks!r})"
            )
        for task in tasks:
            self._add(task)
        self._refuse_unknown()
        for task in self.tasks:
            task.passes_results()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order in which they were added."""
        return tuple(self._tasks.values())

    def __getitem__(self, name: str) -> Task:
        """Give the task of this name. Raise DesignError if there is none."""
        try:
            return self._tasks[name]
        except KeyError:
            hint = did_you_mean(name, self._tasks) or f"; it has {', '.join(self._tasks) or 'no tasks'}"
            raise DesignError(f"dag {self.name!r} has no task {name!r}{hint}") from None

    # -- building --

    def add_task(
        self,
        name: str,
        run: Callable[..., Any] | None = None,
        *,
        func: Callable[..., Any] | None = None,
        depends_on: Named | Sequence[Named] = (),
        retry: Policy | None = None,
        agent: str | None = None,
        skill: str | None = None,
        trigger_rule: TriggerRule | None = None,
        timeout: Duration | None = None,
        priority: int = 0,
        pool: Place | None = None,
        branch: bool = False,
        over: Named | None = None,
        setup: bool = False,
        teardown_of: Named | Sequence[Named] = (),
        fails_dag: bool = False,
    ) -> Self:
        """Add a task and give the DAG back; :class:`Task` says what the arguments mean.

        Raise DesignError if the task cannot work, CycleError if it closes a cycle.
        """
        task = Task(
            name,
            run,
            depends_on,
            func,
            retry,
            agent,
            skill=skill,
            trigger_rule=trigger_rule,
            timeout=timeout,
            priority=priority,
            pool=pool,
            branch=branch,
            over=over,
            setup=setup,
            teardown_of=teardown_of,
            fails_dag=fails_dag,
        )
        self._add(task)
        return self

    @overload
    def task(self, function: Callable[..., Any], /) -> Task: ...
    @overload
    def task(self, /, *, name: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], Task]: ...
    def task(self, function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
        """Make a task of a function: ``@dag.task``, or with what else is to be said of it ``@dag.task(retry=...)``.

        The task is called as the function is, unless it is given a ``name``. The function's name then stands
        for the :class:`Task`, whose ``run`` is the function.
        """
        if function is None:
            return partial(self.task, name=name, **options)
        known = signature(Task).parameters
        for option in options:
            if option not in known:
                raise DesignError(f"a task has no {option!r}{did_you_mean(option, known)}")
        made = Task(name or name_of(function) or "", function, **options)
        self._add(made)
        return made

    def _add(self, task: Task) -> None:
        if not isinstance(task, Task):
            raise DesignError(f"{task!r} is no task of dag {self.name!r}; write Task(name, run=...)")
        if task.name in self._tasks:
            raise DesignError(
                f"dag {self.name!r} has a task {task.name!r} already; give this one another name"
            )
        if task.agent is not None:
            self._check_agent(task, task.agent, must_be_there=False)
        if is_flow(task.run):
            self._refuse_itself(task)
        if self._options.fail_fast and task.trigger_rule not in {"all_success", "all_done_setup_success"}:
            raise DesignError(
                f"task {task.name!r} has trigger rule {task.trigger_rule}, but dag {self.name!r} stops at the first "
                "failure; leave out fail_fast=True, or the rule"
            )
        self.check_edge(task)
        self._tasks[task.name] = task
        task._dags.append(self)  # noqa: SLF001 - two classes of one small room; the task tells us of new edges
        self._plan = None

    def check_edge(self, task: Task) -> None:
        """Raise CycleError if what a task depends on leads back to it."""
        if task.name in task.depends_on:
            raise CycleError((task.name, task.name))
        self._awaited.update([name for name in task.depends_on if name not in self._tasks])
        # Only a task that others wait for, and that itself leads on to known ones, can close a cycle.
        waited_for = task.name in self._tasks or task.name in self._awaited
        if waited_for and any(name in self._tasks for name in task.depends_on):
            edges = {known.name: known.depends_on for known in (*self.tasks, task)}
            cycle = cycle_through(task.name, edges)
            if cycle:
                raise CycleError(cycle)

    def forget_plan(self) -> None:
        """Work the plan out anew before the next run: a task has changed."""
        self._plan = None

    def check(self) -> Self:
        """Raise DesignError, as ``run`` would, if the DAG is not complete or cannot work."""
        self._planned()
        return self

    def _refuse_unknown(self) -> None:
        for task in self.tasks:
            for name in task.depends_on:
                if name not in self._tasks:
                    hint = did_you_mean(name, self._tasks)
                    raise DesignError(
                        f"task {task.name!r} of dag {self.name!r} depends on {name!r}, which it has not{hint}"
                    )

    def _refuse_itself(self, task: Task) -> None:
        """Raise CycleError if the task runs this DAG, or one that contains it."""
        path = _path_to(self, task.run)
        if path:
            raise CycleError((self.name, *path))

    def _check_agent(self, task: Task, wanted: str, *, must_be_there: bool) -> None:
        agent = self._agents.get(wanted)
        part = f"task {task.name!r} of dag {self.name!r}"
        if agent is not None:
            agent.check_skill(task.skill, part, self._agents.values())
            if agent.wants is not None and task.depends_on:
                passes_results(agent.wants, len(task.depends_on), "agent of task", task.name)
        elif must_be_there:
            cure = f"; give it: DAGWorkflow(agents={{{wanted!r}: function}})"
            hint = did_you_mean(wanted, self._agents) or cure
            raise DesignError(f"{part} needs agent {wanted!r}, which the dag has not{hint}")

    def _planned(self) -> Plan:
        """Work out, once, all that stays the same from run to run. Raise DesignError if a part is missing."""
        if self._plan is None:
            if not self._tasks:
                raise DesignError(f"dag {self.name!r} has no tasks; add them with add_task(name, func=...)")
            self._refuse_unknown()
            for task in self._tasks.values():
                if task.agent is not None:
                    self._check_agent(task, task.agent, must_be_there=True)
            plan = Plan(self.name, self.tasks, self._agents, self._options)
            check_plan(plan)
            self._data = describe(plan)
            self._plan = plan
        return self._plan

    @property
    def needs_input(self) -> str | None:
        """The first task that takes the input of the whole DAG, None if none does."""
        return self._planned().needs_input

    # -- running --

    async def run(self, *given: Any, resume: DAGResult | None = None, key: object = None) -> DAGResult:
        """Run all tasks once and give their results by name. ``given``, at most one, is the DAG's input.

        With ``resume``, the result of an earlier run (see ``settle``), the tasks that did not succeed then
        run again, and all that comes after them; the others keep their results. ``key`` names the run in the
        journal of a DAG that has one.
        """
        return await self._start(given, resume, key, [])

    async def settle(self, *given: Any, resume: DAGResult | None = None, key: object = None) -> DAGResult:
        """Run as ``run`` does, but give the result also if the run fails; ``result.error`` tells why."""
        runs: list[Run] = []
        try:
            return await self._start(given, resume, key, runs)
        except Exception as error:
            if not runs or runs[0].result.error is not error:
                raise
            return runs[0].result

    async def _start(
        self, given: tuple[Any, ...], resume: DAGResult | None, key: object, runs: list[Run]
    ) -> DAGResult:
        plan = self._planned()
        if len(given) > 1:
            raise DesignError(
                f"dag {self.name!r} takes one input at most, not {len(given)}; put them in one object"
            )
        if self.journal is not None or key is not None:
            return await self._live(plan, given, self._keeper(plan, given, resume, key), runs)
        self._check_given(plan, given)
        data, kept = self._data, None
        if resume is not None:
            kept = kept_of(plan, resume)
            data = self._with_kept(plan, kept)
        with span("dag", self.name, self.name, data=data) as whole:
            runs.append(Run(plan, given, whole, kept))
            return await runs[0].play()

    def _keeper(self, plan: Plan, given: tuple[Any, ...], resume: DAGResult | None, key: object) -> Keeper:
        if self.journal is None:
            raise DesignError(f"dag {self.name!r} has no journal, so key={key!r} names nothing in it")
        if resume is not None:
            raise DesignError(
                f"dag {self.name!r} has a journal, which knows what is left to do; leave resume= out and run it "
                "again with the same key"
            )
        if key is None and given and isinstance(given[0], str | int) and not isinstance(given[0], bool):
            key = given[0]
        if key is None:
            raise DesignError(
                f"dag {self.name!r} keeps a journal, so each run needs a name to be found by: run(key='2030-01-01')"
            )
        return Keeper(self.journal, plan, str(key))

    async def _live(self, plan: Plan, given: tuple[Any, ...], keeper: Keeper, runs: list[Run]) -> DAGResult:
        """Begin a run, or carry on the one that the journal knows."""
        given = await keeper.load(given)
        self._check_given(plan, given)
        data = self._data | {"key": keeper.key}
        if keeper.finished is not None:
            data |= {"kept": keeper.finished.states}
        elif keeper.kept is not None:
            data |= self._with_kept(plan, keeper.kept)
        with span("dag", self.name, self.name, data=data) as whole:
            if keeper.finished is not None:
                whole.data = {"told_again": True}
                return keeper.finished
            await keeper.begin(given)
            runs.append(Run(plan, given, whole, keeper.kept, keeper))
            result = await runs[0].play()
            await keeper.finish(result)
            return result

    def _check_given(self, plan: Plan, given: tuple[Any, ...]) -> None:
        if plan.needs_input and not given:
            raise DesignError(
                f"task {plan.needs_input!r} of dag {self.name!r} takes an argument but depends on nothing; "
                "name what it depends on, or give the dag an input: run(input)"
            )

    def _with_kept(self, plan: Plan, kept: Kept) -> Plain:
        """Give what the history says of a run that goes on from another."""
        told = {plan.names[at]: state for at, (state, _) in kept.tasks.items()}
        return Plain.of(self._data | {"kept": told})

    def execute(
        self,
        *given: Any,
        seed: int = 0,
        nemesis: Nemesis | None = None,
        resume: DAGResult | None = None,
        key: object = None,
    ) -> DAGResult:
        """Run all tasks once in virtual time, and wait for them: the blocking form of ``run``.

        Blocking code inside a simulation runs them there, under that one's seed and
        faults. Raise DesignError inside a coroutine.
        """
        results: DAGResult = execute("dag", partial(self.run, resume=resume, key=key), given, seed, nemesis)
        return results

    # -- planning --

    def schedule(self, durations: Mapping[str, Latency] | Latency) -> Schedule:
        """Tell when each task would run if nobody had to wait for a slot, and what the critical path is.

        ``durations`` says how long each task takes, by name, or one for all; of a distribution the mean of a
        thousand draws is taken (Kelley and Walker, Critical-Path Planning and Scheduling, 1959).
        """
        return schedule(self._planned(), durations)

    def expected_makespan(
        self, durations: Mapping[str, Latency] | Latency, *, runs: int = 200, seed: int = 0
    ) -> Makespan:
        """Tell how long a run takes, by simulating ``runs`` of them with these durations in place of the work.

        Limits on parallelism, priorities, pools and the capacity of agents count. There is no closed form for
        that, and the length of the critical path is less: the mean of a maximum exceeds the maximum of means.
        """
        return expected_makespan(self._planned(), durations, runs=runs, seed=seed)

    def __repr__(self) -> str:
        return f"<DAGWorkflow {self.name!r}: {', '.join(self._tasks) or 'no tasks'}>"


def _path_to(dag: DAGWorkflow, work: Any) -> tuple[str, ...]:
    """Give the names of the DAGs on the way from a task's work to this DAG; empty if there is no way."""
    if work is dag:
        return (dag.name,)
    for task in work.tasks if isinstance(work, DAGWorkflow) else ():
        path = _path_to(dag, task.run)
        if path:
            return (cast("DAGWorkflow", work).name, *path)
    return ()
