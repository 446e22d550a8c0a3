"""The plan of a DAG: all that stays the same from run to run, worked out once, with tasks as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, Skip
from wfsim.history import Plain
from wfsim.kernel import call, is_coroutine_function
from wfsim.units import NS_PER_SECOND
from wfsim.workflows._dag._graph import Scopes
from wfsim.workflows._dag._result import Skipped
from wfsim.workflows._dag._rules import Tally
from wfsim.workflows._dag._task import is_flow, passes_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wfsim.workflows._dag._agent import Agent
    from wfsim.workflows._dag._task import Task


@dataclass(frozen=True, slots=True)
class Options:
    """How a DAG is run."""

    max_parallel: int | None = None
    fail_fast: bool = False
    cancel_unneeded: bool = False
    durable: bool = False


class Plan:
    """What a run of a DAG needs to know and every run shares. A task's number is its place in the DAG."""

    def __init__(
        self, name: str, tasks: Sequence[Task], agents: Mapping[str, Agent], options: Options
    ) -> None:
        self.name = name
        self.options = options
        self.tasks = tuple(tasks)
        self.names = tuple([task.name for task in tasks])
        self.who = tuple([("task", name, task) for task in self.names])
        self.number = {name: at for at, name in enumerate(self.names)}
        self.labels = tuple([f"{name}/{task}" for task in self.names])
        self.scopes = Scopes(tasks)
        self._draw_edges()
        self.agents = [agents[task.agent] if task.agent else None for task in tasks]
        self.works = [self._work_of(task) for task in tasks]
        self.passes = [
            task.passes_results() if agent is None else self._passes(task, agent)
            for task, agent in zip(tasks, self.agents, strict=True)
        ]
        self.needs_input = self._first_with_input()
        self._sort_out()

    def _first_with_input(self) -> str | None:
        for task, passes in zip(self.tasks, self.passes, strict=True):
            if passes and not task.depends_on and not is_flow(task.run):
                return task.name
        return None

    def _draw_edges(self) -> None:
        number = self.number
        self.ups = [tuple([number[other] for other in task.depends_on]) for task in self.tasks]
        downs: list[list[int]] = [[] for _ in self.tasks]
        for at, ups in enumerate(self.ups):
            for up in ups:
                downs[up].append(at)
        self.downs = [tuple(each) for each in downs]

    def _sort_out(self) -> None:
        """Tell the tasks that need nothing special from those that do."""
        number, scopes = self.number, self.scopes
        self.is_setup = [name in scopes.setups for name in self.names]
        self.guards = [len(scopes.guards.get(name, ())) for name in self.names]
        self.scoped = [len(scopes.scopes.get(name, ())) for name in self.names]
        self.guarded = _turned(scopes.guards, number)
        self.in_scope_of = _turned(scopes.scopes, number)
        self.watched = {**self.guarded, **self.in_scope_of}
        self.counts_alone = [
            task.trigger_rule == "all_success" and not guards
            for task, guards in zip(self.tasks, self.guards, strict=True)
        ]
        self.after_failure = [getattr(task.retry, "after_failure", None) for task in self.tasks]
        # While a task waits for its next try somebody else may have its slot, if slots are scarce.
        self.one_call = [
            (task.retry is None or (after_failure is not None and self.options.max_parallel is None))
            and task.pool is None
            and task.timeout_s is None
            and not task.over
            and not task.agent
            and not self.options.durable  # there is a record to be written
            for task, after_failure in zip(self.tasks, self.after_failure, strict=True)
        ]
        self.queues_elsewhere = [
            task.pool is not None or bool(agent and agent.capacity)
            for task, agent in zip(self.tasks, self.agents, strict=True)
        ]
        self.leaves = self._leaves()

    def _leaves(self) -> tuple[int, ...]:
        """Give the tasks that tell, by how they end, how the run does; as Airflow has it."""

        def counts(at: int) -> bool:
            return not self.tasks[at].teardown_of or self.tasks[at].fails_dag

        last = [at for at, downs in enumerate(self.downs) if not downs]
        if not self.scopes.teardowns:
            return tuple(last)
        leaves = [at for at, downs in enumerate(self.downs) if counts(at) and not any(map(counts, downs))]
        return tuple(leaves or last)

    def tallies(self) -> dict[int, Tally]:
        """Give a fresh count for each task that decides by more than the success of all before it."""
        return {
            at: Tally(len(ups), sum(self.is_setup[up] for up in ups))
            for at, ups in enumerate(self.ups)
            if not self.counts_alone[at]
        }

    def _work_of(self, task: Task) -> Callable[..., Any]:
        if task.agent:
            agent = self.agents[self.number[task.name]]
            return _by_agent(agent, self.name, task.name)  # type: ignore[arg-type]
        run: Any = task.run
        return skippable(_flow(run, len(task.depends_on)) if is_flow(run) else run)

    def _passes(self, task: Task, agent: Agent) -> bool:
        wanted = agent.wants
        return wanted is not None and passes_results(wanted, len(task.depends_on), "agent of task", task.name)

    def needs(self) -> list[int]:
        """Give for each task how many wait for it; what nobody waits for is wanted for itself."""
        return [sum(not self.tasks[down].is_teardown for down in downs) for downs in self.downs]


def _turned(guards: Mapping[str, Sequence[str]], number: Mapping[str, int]) -> dict[int, tuple[int, ...]]:
    """Turn `task -> whom it watches` into `whom -> the tasks that watch it`, in numbers."""
    found: dict[int, tuple[int, ...]] = {}
    for task, watched in guards.items():
        for one in watched:
            found[number[one]] = (*found.get(number[one], ()), number[task])
    return found


def skippable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a task's function, so that a task that skips itself has done well and says so."""
    wrapper = _Skippable(fn)
    return wrapper.awaited if is_coroutine_function(fn) else wrapper.called


class _Skippable:
    """A task's function. Its methods are wrappers in less room than nested functions take."""

    __slots__ = ("__wrapped__",)

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.__wrapped__ = fn

    async def awaited(self, *args: Any) -> Any:
        try:
            return await self.__wrapped__(*args)
        except Skip as skip:
            return Skipped(str(skip))

    async def called(self, *args: Any) -> Any:
        try:
            return await call(self.__wrapped__, *args)
        except Skip as skip:
            return Skipped(str(skip))


def _flow(flow: Any, count: int) -> Callable[..., Any]:
    """Give the run of a flow within a task: its input is the result the task depends on, or all of them."""

    async def run(*results: Any) -> Any:
        return await flow.run(*((results,) if count > 1 else results))

    return run


def _by_agent(agent: Agent, design: str, name: str) -> Callable[..., Any]:
    async def run(*results: Any) -> Any:
        return await agent.work(design, name, results)

    return skippable(run)


def describe(plan: Plan) -> Plain:
    """Give the design as plain data, for the history: the tasks with what they depend on, and what is special."""
    tasks, scopes = plan.tasks, plan.scopes
    rules = {task.name: task.trigger_rule for task in tasks if task.trigger_rule != "all_success"}
    teardowns = {
        task.name: {"of": list(task.teardown_of)} | ({"fails_dag": True} if task.fails_dag else {})
        for task in tasks
        if task.teardown_of
    }
    special: dict[str, Any] = {
        "retry": {task.name: task.retry.describe() for task in tasks if task.retry is not None},
        "trigger_rules": rules,
        "branches": [task.name for task in tasks if task.branch],
        "over": {task.name: task.over for task in tasks if task.over},
        "setups": list(scopes.setups),
        "teardowns": teardowns,
        "priorities": {task.name: task.priority for task in tasks if task.priority},
        "timeouts_ns": {task.name: round(task.timeout_s * NS_PER_SECOND) for task in tasks if task.timeout_s},
        "pools": [task.name for task in tasks if task.pool is not None],
        "agents": {task.name: task.agent for task in tasks if task.agent},
        "max_parallel": plan.options.max_parallel,
        "fail_fast": plan.options.fail_fast,
        "cancel_unneeded": plan.options.cancel_unneeded,
    }
    plain = Plain({"tasks": {task.name: list(task.depends_on) for task in tasks}})
    plain.update(Plain.of({key: value for key, value in special.items() if value}))
    return plain


def check_plan(plan: Plan) -> None:
    """Raise DesignError if a part says something that its place in the DAG contradicts."""
    for at, task in enumerate(plan.tasks):
        if task.branch and not plan.downs[at]:
            raise DesignError(
                f"task {task.name!r} of dag {plan.name!r} is a branch, but nothing depends on it; "
                "add the tasks that it chooses from"
            )
        for setup in task.teardown_of:
            if plan.tasks[plan.number[setup]].is_teardown:
                raise DesignError(
                    f"task {task.name!r} of dag {plan.name!r} takes down {setup!r}, which is a teardown itself; "
                    "name a setup"
                )
