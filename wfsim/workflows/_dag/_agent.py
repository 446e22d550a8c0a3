"""Agents: who does the work of a DAG's tasks, with what they can do, and a model of how they do it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from wfsim.errors import DesignError
from wfsim.kernel import Distribution, call, constant, current, sleep
from wfsim.workflows._dag._latency import Latency, as_distribution, sample_s
from wfsim.workflows._naming import checked_name, did_you_mean
from wfsim.workflows._signature import Takes, takes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Agent:
    """Somebody who does tasks: a model with a prompt, a team, a machine.

    ::

        reviewer = Agent("reviewer", skills=["review"], capacity=2, latency=lognormal("40s", 0.5), cost=0.02)

    A task that needs a ``skill`` is given only to an agent that has it. At most ``capacity`` tries are with
    the agent at a time, of all runs together; the others wait in line. Each try costs ``cost``, and
    ``cost_per_s`` for each second that it takes, also if it fails.

    ``run`` does the work: a function that is given the results the task depends on. In a simulation the
    agent first takes its ``latency`` (a duration, or a distribution), and then fails with ``error`` at the
    given ``failure_probability``. An agent without ``run`` is this model alone, and works nowhere else.
    """

    name: str
    skills: Sequence[str] = ()
    run: Callable[..., Any] | None = None
    capacity: int | None = None
    latency: Latency = 0
    cost: float = 0.0
    cost_per_s: float = 0.0
    failure_probability: float = 0.0
    error: Callable[[str], BaseException] = RuntimeError
    _latency: Distribution = field(default=constant(0), init=False, repr=False)
    _takes: Takes | None = field(default=None, init=False, repr=False)
    _lines: WeakKeyDictionary[Any, asyncio.Semaphore] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    def __post_init__(self) -> None:
        part = f"agent {checked_name(self.name, 'an agent')!r}"
        if isinstance(self.skills, str) or not isinstance(self.skills, Iterable):
            raise DesignError(f"skills of {part} must be a list; write skills=[{self.skills!r}]")
        object.__setattr__(self, "skills", tuple(self.skills))
        if self.capacity is not None and (type(self.capacity) is not int or self.capacity < 1):
            raise DesignError(
                f"capacity of {part} is {self.capacity!r}; it must be 1 or more, or None for any"
            )
        for name in ("cost", "cost_per_s"):
            _check_number(getattr(self, name), math.inf, f"{name} of {part}", "a number of 0 or more")
        _check_number(self.failure_probability, 1, f"failure_probability of {part}", "a number from 0 to 1")
        object.__setattr__(self, "_latency", as_distribution(self.latency, f"latency of {part}"))
        if self.run is not None:
            object.__setattr__(self, "_takes", takes(self.run, f"run of {part}"))

    @property
    def wants(self) -> Takes | None:
        """How many arguments the work takes; None if the agent is a model alone."""
        return self._takes

    def describe(self) -> dict[str, Any]:
        """Give the agent as plain data, for the history."""
        told = {"skills": list(self.skills), "capacity": self.capacity, "cost": self.cost}
        return {name: value for name, value in told.items() if value}

    def check_skill(self, skill: str | None, part: str, others: Iterable[Agent]) -> None:
        """Raise DesignError if the agent lacks a skill; name those who have it."""
        if skill is None or skill in self.skills:
            return
        able = [other.name for other in others if skill in other.skills]
        cure = f"; {', '.join(able)} can" if able else did_you_mean(skill, self.skills)
        has = f"can {', '.join(self.skills)}" if self.skills else "has no skills"
        raise DesignError(f"{part} needs skill {skill!r}, but agent {self.name!r} {has}{cure}")

    def line(self) -> asyncio.Semaphore:
        """Give the line before the agent, in the event loop that runs."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = asyncio.Semaphore(self.capacity or 0)
        return line

    def price(self, seconds: float) -> float:
        """Give what a try of this length costs."""
        return self.cost + self.cost_per_s * seconds

    async def work(self, design: str, task: str, args: Sequence[Any]) -> Any:
        """Do one try of a task."""
        simulation = current()
        if simulation is not None:
            stream = simulation.stream(f"agent/{self.name}/{design}/{task}")
            took_s = sample_s(self._latency, stream)
            if took_s:
                await sleep(took_s)
            if self.failure_probability and stream.random() < self.failure_probability:
                raise self.error(f"agent {self.name} failed at {task}")
        if self.run is not None:
            return await call(self.run, *args)
        if simulation is None:
            raise DesignError(
                f"agent {self.name!r} is a model and works in a simulation only; give it run=..."
            )
        return f"{task} by {self.name}"


def _check_number(value: Any, most: float, part: str, right: str) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= most
        or value == math.inf
    ):
        raise DesignError(f"{part} is {value!r}; it must be {right}")


def as_agents(given: Any, part: str) -> dict[str, Agent]:
    """Bring the agents of a DAG into one form: a list of them, or functions (or agents) by name."""
    if hasattr(given, "items"):
        agents = [one if isinstance(one, Agent) else Agent(name, run=one) for name, one in given.items()]
    else:
        agents = list(given)
    found: dict[str, Agent] = {}
    for agent in agents:
        if not isinstance(agent, Agent):
            raise DesignError(f"{agent!r} is no agent of {part}; write Agent(name, run=...)")
        if agent.name in found:
            raise DesignError(f"{part} has an agent {agent.name!r} already; give this one another name")
        found[agent.name] = agent
    return found
