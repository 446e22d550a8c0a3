"""The task: one node of a DAG, with all that is said of it; `>>` and `<<` draw the edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from wfsim.errors import CycleError, DesignError
from wfsim.units import NS_PER_SECOND, parse_duration
from wfsim.workflows._dag._rules import TRIGGER_RULES
from wfsim.workflows._naming import checked_name, did_you_mean
from wfsim.workflows._policy import check_policy
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from wfsim.units import Duration
    from wfsim.workflows._dag._rules import TriggerRule
    from wfsim.workflows._dag._workflow import DAGWorkflow
    from wfsim.workflows._policy import Policy
    from wfsim.workflows._signature import Takes

    Others = TypeVar("Others", bound="Task | Sequence[Task]")

Named: TypeAlias = "str | Task"


class Place(Protocol):
    """What a task may have to enter before it can work, such as a ``wfsim.capacity.Pool``: ``async with place:``."""

    def __aenter__(self) -> Awaitable[Any]:
        """Enter; others may have to leave first."""

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> Awaitable[Any]:
        """Leave."""


class Task:
    """One task of a DAG.

    ``run`` (or ``func``, which is the same) does the work: a function, a coroutine function, a lambda that
    returns a coroutine, or a flow of its own, such as another DAG. ``agent`` names one of the DAG's agents to
    do it instead, ``skill`` what the agent must be able to do. The work is given the results of
    ``depends_on``, in that order, or nothing if it takes no argument; what ended without a result gives None.
    If the task depends on nothing and takes one argument, that is the input of the whole DAG.

    ``trigger_rule`` tells when the task runs, given how ``depends_on`` ended: by default when all succeeded.
    The names and their meaning are Airflow's. A task skips itself by raising :class:`wfsim.workflows.Skip`.

    ``retry`` wraps the work; each try gets ``timeout``. Of tasks that could start, the one with the highest
    ``priority`` does, then the one that has waited longest. ``pool`` (such as a ``wfsim.capacity.Pool``, which
    other tasks, runs and DAGs may share) is entered for each try.

    A ``branch`` gives the name, or names, of the tasks directly after it that are to run; the others are
    skipped. ``over`` names a dependency that gives a list: the task then runs once for each item, which it is
    given in place of the list, and its result is the list of results (Airflow's ``expand``).

    ``teardown_of`` names tasks that set something up (``setup=True`` says the same of the other end): this
    task takes it down. It runs once all between has ended, however that went, if a setup succeeded, and its
    own failure does not fail the DAG, unless ``fails_dag``.
    """

    __slots__ = (
        "_dags",
        "_takes",
        "agent",
        "branch",
        "depends_on",
        "fails_dag",
        "name",
        "over",
        "pool",
        "priority",
        "retry",
        "run",
        "setup",
        "skill",
        "teardown_of",
        "timeout_s",
        "trigger_rule",
    )

    def __init__(
        self,
        name: str,
        run: Callable[..., Any] | None = None,
        depends_on: Named | Sequence[Named] = (),
        func: Callable[..., Any] | None = None,
        retry: Policy | None = None,
        agent: str | None = None,
        *,
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
    ) -> None:
        part = f"task {checked_name(name, 'a task')!r}"
        if (run is not None) + (func is not None) + (agent is not None) != 1:
            raise DesignError(f"{part} needs one of run=, func= and agent= to say what it does, and only one")
        self.name = name
        self.run: Callable[..., Any] | None = func or run
        self.agent, self.skill = agent, skill
        self.retry, self.priority, self.pool = retry, priority, pool
        self.branch, self.setup, self.fails_dag = branch, setup, fails_dag
        self.over = None if over is None else _name(over, f"what {part} is mapped over")
        self.teardown_of = _names(teardown_of, "teardown_of", part) if teardown_of else ()
        self.depends_on = self._all_of(_names(depends_on, "depends_on", part))
        self.timeout_s = None if timeout is None else _seconds(timeout, f"timeout of {part}")
        self.trigger_rule: TriggerRule = trigger_rule or (
            "all_done_setup_success" if self.teardown_of else "all_success"
        )
        self._dags: list[DAGWorkflow] = []
        _check(self, part)
        self._takes = None if self.run is None or is_flow(self.run) else takes(self.run, part)
        if self.depends_on:  # else >> may still add some
            self.passes_results()

    def _all_of(self, depends_on: tuple[str, ...]) -> tuple[str, ...]:
        """Add what the task is mapped over and what it takes down to what it depends on."""
        if self.over is not None and self.over not in depends_on:
            depends_on += (self.over,)
        if not self.teardown_of:
            return depends_on
        return depends_on + tuple(one for one in self.teardown_of if one not in depends_on)

    def __repr__(self) -> str:
        return f"Task({self.name!r}{f', depends_on={list(self.depends_on)!r}' if self.depends_on else ''})"

    def passes_results(self) -> bool:
        """Tell whether the work is given results, or the DAG's input. Raise DesignError if they do not fit."""
        wanted = self._takes
        return wanted is None or passes_results(wanted, len(self.depends_on), "task", self.name)

    @property
    def is_teardown(self) -> bool:
        """Whether the task takes down what others have set up."""
        return bool(self.teardown_of)

    # -- edges --

    def __rshift__(self, others: Others) -> Others:
        """``a >> b``: b depends on a; ``a >> [b, c]``: both do. The value is what stands on the right."""
        for other in _tasks(others):
            other._depend_on(self)
        return others

    def __lshift__(self, others: Others) -> Others:
        """``b << a``: b depends on a; ``c << [a, b]``: on both."""
        for other in _tasks(others):
            self._depend_on(other)
        return others

    def __rrshift__(self, others: Sequence[Task]) -> Self:
        """``[a, b] >> c``: c depends on both."""
        self << others
        return self

    def __rlshift__(self, others: Sequence[Task]) -> Self:
        """``[b, c] << a``: both depend on a."""
        self >> others
        return self

    def as_setup(self) -> Self:
        """Say that the task sets something up; a teardown takes it down."""
        self._change(setup=True)
        return self

    def as_teardown(self, *, setups: Task | Sequence[Task], fails_dag: bool = False) -> Self:
        """Say that the task takes down what ``setups`` have set up, on which it then depends."""
        for setup in _tasks(setups):
            if setup.name not in self.depends_on:
                self._depend_on(setup)
            setup.as_setup()
        rule = "all_done_setup_success" if self.trigger_rule == "all_success" else self.trigger_rule
        names = tuple(dict.fromkeys((*self.teardown_of, *(setup.name for setup in _tasks(setups)))))
        self._change(teardown_of=names, fails_dag=fails_dag, trigger_rule=rule)
        return self

    def _change(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        for dag in self._dags:
            dag.forget_plan()

    def _depend_on(self, other: Task) -> None:
        if other is self:
            raise CycleError((self.name, self.name))
        if other.name in self.depends_on:
            raise DesignError(f"task {self.name!r} depends on {other.name!r} twice; name it once")
        before = self.depends_on
        self._change(depends_on=(*before, other.name))
        try:
            for dag in self._dags:
                dag.check_edge(self)
        except DesignError:
            self._change(depends_on=before)
            raise


def _tasks(others: Any) -> tuple[Task, ...]:
    found = (others,) if isinstance(others, Task) else others
    if isinstance(found, list | tuple) and all(isinstance(one, Task) for one in found):
        return tuple(found)
    raise DesignError(
        f">> and << join tasks and lists of tasks, not {others!r}; dag['name'] gives the task of that name"
    )


def _name(given: Any, part: str) -> str:
    return given.name if isinstance(given, Task) else checked_name(given, part)


def _names(given: Any, field: str, part: str) -> tuple[str, ...]:
    if isinstance(given, str):
        raise DesignError(f"{field} of {part} must be a list; write {field}=[{given!r}]")
    if isinstance(given, Task):
        given = (given,)
    if not isinstance(
        given, (list, tuple, Iterable)
    ):  # the last alone would do, but takes its time to say so
        raise DesignError(f"{field} of {part} must be a list of names or tasks, not {given!r}")
    names = tuple(
        [
            one if one.__class__ is str and one.strip() else _name(one, f"what {part} depends on")
            for one in given
        ]
    )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DesignError(f"{part} depends on {twice!r} twice; name it once")
    return names


def _seconds(duration: Duration, part: str) -> float:
    return parse_duration(duration, part) / NS_PER_SECOND


def _check(task: Task, part: str) -> None:
    """Raise DesignError, naming the part and the cure, if what is said of a task cannot be meant."""
    if task.retry is not None:
        check_policy(task.retry, f"retry of {part}")
    if task.trigger_rule not in TRIGGER_RULES:
        cure = did_you_mean(str(task.trigger_rule), TRIGGER_RULES) or "; there are " + ", ".join(
            TRIGGER_RULES
        )
        raise DesignError(f"trigger_rule of {part} is {task.trigger_rule!r}{cure}")
    if type(task.priority) is not int:
        raise DesignError(f"priority of {part} is {task.priority!r}; it must be a whole number")
    if task.timeout_s == 0:
        raise DesignError(f"timeout of {part} is 0, so that no try could end in time; leave it out for none")
    if task.pool is not None and not hasattr(task.pool, "__aenter__"):
        raise DesignError(f"pool of {part} is {task.pool!r}, which `async with` cannot enter; write Pool(4)")
    _check_roles(task, part)


def _check_roles(task: Task, part: str) -> None:
    if task.skill is not None and task.agent is None:
        raise DesignError(f"{part} needs skill {task.skill!r} of an agent; name the agent: agent=...")
    if task.over and (task.branch or task.trigger_rule == "always"):
        why = "a branch" if task.branch else "run always, also before there is a list"
        raise DesignError(f"{part} is mapped over {task.over!r} and cannot be {why}; use two tasks")
    if task.fails_dag and not task.teardown_of:
        raise DesignError(f"fails_dag of {part} says that its failure as a teardown counts; add teardown_of=")
    if task.setup and task.teardown_of:
        raise DesignError(f"{part} cannot be a setup and a teardown; make two tasks of it")


def passes_results(wanted: Takes, count: int, part: str, name: str) -> bool:
    """Tell whether a function wants the results of its task's ``count`` dependencies; for 0, the input.

    Raise DesignError, naming the ``part`` of the task of this ``name``, if they do not fit.
    """
    if not wanted.least and (wanted.most is not None or not count):
        return False
    if wanted.fits(max(count, 1)):
        return True
    given = (
        f"{count} result{'' if count == 1 else 's'} to take, in the order of depends_on"
        if count
        else "only an input"
    )
    raise DesignError(f"{part} {name!r} takes {wanted}, but has {given}; let it take as many, or none")


def is_flow(work: Any) -> bool:
    """Tell whether a task's work is a flow, such as a DAG or a saga, rather than a function."""
    return not callable(work) and callable(getattr(work, "run", None))
