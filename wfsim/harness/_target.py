"""What runs a design. An engine's plugin implements ``Target``; wfsim's own designs have one here.

A target is used like this, once for each run, inside the simulation::

    system = await target.start()  # a fresh world: no state of an earlier run
    await target.drive(system, *arguments)  # once per instance, each in a process of its own
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeAlias, runtime_checkable

from wfsim.errors import DesignError
from wfsim.kernel import call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REFERENCE: Final = object()

Reference: TypeAlias = Annotated[Any, _REFERENCE]
"""Annotates a parameter of what makes a plugin's target: a scenario file names a Python object there.

The file says ``module:name`` or ``file.py:name``, its path relative to the file itself, and the maker gets the object.
``Sequence[Reference]`` is a list of them; all objects of one file come from one execution of it.
"""


@dataclass(frozen=True, slots=True)
class Description:
    """What a target knows about its design before it runs; a scenario's selectors are checked by it.

    ``kind`` is "saga", "dag", "function" or the engine's own word. ``steps`` are the names that a
    fault may select; ``None`` says that they are not known beforehand.
    """

    name: str
    kind: str
    steps: tuple[str, ...] | None = None


@runtime_checkable
class Target(Protocol):
    """What runs one design. Implement these three to put an engine's code under test.

    A target keeps no state between runs: what belongs to one run is in the system that ``start``
    returns. All waiting goes through asyncio or the blocking calls that the kernel simulates.
    """

    def describe(self) -> Description:
        """Return the design's name, its kind and its steps, without running anything."""

    async def start(self) -> Any:
        """Build a fresh world for one run (servers, workers, stores) and return it."""

    async def drive(self, system: Any, *args: Any) -> Any:
        """Run one instance of the design in that world and return its value, or raise its error."""


@dataclass(frozen=True, slots=True)
class DesignTarget:
    """Runs a wfsim design: any object with a ``run`` method, such as a Saga or a DAGWorkflow."""

    design: Any

    def describe(self) -> Description:
        """Read name, kind and steps off the design."""
        return describe_design(self.design)

    async def start(self) -> Any:
        """Return the design itself: it keeps no state between runs."""
        return self.design

    async def drive(self, system: Any, *args: Any) -> Any:
        """Run the design once."""
        return await call(system.run, *args)


@dataclass(frozen=True, slots=True)
class FunctionTarget:
    """Runs a coroutine function, or a plain function that blocks in virtual time."""

    function: Callable[..., Any]
    name: str = ""

    def describe(self) -> Description:
        """Return the function's name; nothing else is known of it."""
        return Description(self.name or getattr(self.function, "__name__", "function"), "function")

    async def start(self) -> Any:
        """Return the function: what it keeps in globals outlives a run, so prefer a Factory then."""
        return self.function

    async def drive(self, system: Any, *args: Any) -> Any:
        """Call the function once."""
        return await call(system, *args)


@dataclass(frozen=True, slots=True)
class Factory:
    """Makes a fresh design for each run: for designs that keep state, such as a store or a journal.

    ``make(**options)`` returns a design (an object with ``run``), a function, or another target. It is also
    called outside of any run, to read the name and the steps off what it makes.
    """

    make: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> Description:
        """Make the design once, outside any run, to read its name and steps."""
        return self._target().describe()

    async def start(self) -> Any:
        """Make the design of this run, and start it."""
        target = self._target()
        return target, await target.start()

    async def drive(self, system: Any, *args: Any) -> Any:
        """Run one instance of this run's design."""
        target, inner = system
        return await target.drive(inner, *args)

    def _target(self) -> Target:
        return target_of(self.make(**self.options))


def target_of(design: Any) -> Target:
    """Return what runs ``design``: a target itself, a design with ``run``, or a function.

    Raises DesignError for anything else, such as a coroutine that was already called.
    """
    if isinstance(design, Target):
        return design
    if callable(getattr(design, "run", None)) and not isinstance(design, type):
        refuse_generator(design.run)
        return DesignTarget(design)
    if callable(design):
        refuse_generator(design)
        return FunctionTarget(design)
    raise DesignError(
        f"cannot run {design!r}: a design is a function, an object with a run method, or a Target; "
        "pass the function itself, not what calling it returns"
    )


def refuse_generator(function: Any) -> None:
    """Raise DesignError for a generator function: a call of it runs nothing, and so would always go well."""
    name = getattr(function, "__qualname__", type(function).__name__)
    if inspect.isasyncgenfunction(function):
        raise DesignError(f"{name} is an async generator; pass a coroutine function that iterates over it")
    if inspect.isgeneratorfunction(function):
        raise DesignError(
            f"{name} is a generator function; if it is a SimPy process, pass a coroutine function that awaits "
            f"wfsim.kernel.current().environment.process({name}(...))"
        )


def describe_design(design: Any) -> Description:
    """Return what can be read off a design: its name, its class's name as kind, the names of its steps."""
    kind = {"DAGWorkflow": "dag", "StateMachine": "machine"}.get(
        type(design).__name__, type(design).__name__.lower()
    )
    parts = getattr(design, "steps", None) or getattr(design, "tasks", None)
    return Description(getattr(design, "name", "") or kind, kind, _names(parts))


def _names(parts: Any) -> tuple[str, ...] | None:
    if parts is None or callable(parts):
        return None
    names = [part if isinstance(part, str) else getattr(part, "name", None) for part in parts]
    return tuple(name for name in names if name) if all(names) else None
