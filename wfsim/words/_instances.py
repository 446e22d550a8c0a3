"""Instances of a design: each runs in a process of its own, so that a fault can crash it."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError, ProcessCrashed
from wfsim.history import describe_error
from wfsim.kernel import call, cause_of, current, start_process
from wfsim.words._subject import design_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.kernel import Process, Simulation

INSTANCE: Final = "instance"
"""The kind of operation that tells the beginning and the end of one instance."""


class Instances:
    """The instances of a design with ``run``, or of a coroutine function."""

    def __init__(self, design: Any) -> None:
        self._design = design
        self._function = getattr(design, "run", design)
        self._name = design_name(design)
        self._takes_key = "key" in inspect.signature(self._function).parameters
        self._ends: dict[str, asyncio.Task[Any]] = {}
        self.processes: dict[str, Process] = {}

    def begin(self, args: tuple[Any, ...], options: Mapping[str, Any], key: str | None) -> asyncio.Task[Any]:
        """Start one instance; give what ends with it."""
        if key is not None and self._takes_key:
            options = {**options, "key": key}

        async def live() -> Any:
            return await call(_bound(self._function, options), *args)

        return self._start(key or self._name, live)

    def _start(self, title: str, live: Callable[[], Any]) -> asyncio.Task[Any]:
        name, number = title, 1
        while name in self.processes or name == "main":
            number += 1
            name = f"{title}-{number}"
        simulation = _simulation()
        begun = simulation.recorder.invoke(INSTANCE, self._name, name, name, attempt=0)
        process = self.processes[name] = start_process(name, live)
        end = asyncio.create_task(_ended(simulation, process, begun), name=f"end of {name}")
        self._ends[name] = end
        return end

    def restart(self, after_s: float) -> list[asyncio.Task[Any]]:
        """Crash what runs and start it anew; if nothing does, carry on what the journal knows."""
        alive = [name for name, process in self.processes.items() if process.alive]
        for name in alive:
            self.processes[name].crash(after_s)
        if alive:
            return [self._ends[name] for name in alive]
        recover = getattr(self._design, "recover", None)
        if recover is None or getattr(self._design, "journal", None) is None:
            raise DesignError(
                f"nothing of {self._name!r} runs, so nothing can be restarted, and it has no journal to be carried "
                "on from; let something come first: .having(...) or .when(...)"
            )
        return [self._start(self._name, recover)]

    async def settle(self, ends: list[asyncio.Task[Any]]) -> list[Any]:
        """Wait until these have ended; give their values."""
        return list(await asyncio.gather(*ends, return_exceptions=True))

    def tell(self) -> None:
        """Tell the history how things rest: nothing to add to what it holds."""

    def leave(self) -> None:
        """Let what still runs be as it is: no code of it may run once the sentence is over."""
        for end in self._ends.values():
            end.cancel()
        for process in self.processes.values():
            process.crash()


def _bound(function: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    if not options:
        return function

    async def bound(*args: Any) -> Any:
        value = function(*args, **options)
        return await value if inspect.isawaitable(value) else value

    return bound


def _simulation() -> Simulation:
    simulation = current()
    assert simulation is not None  # noqa: S101 - only a run of a sentence comes here
    return simulation


async def _ended(simulation: Simulation, process: Process, begun: int) -> Any:
    """Wait for the end of an instance and tell it to the history; give the value or raise the error."""
    complete = simulation.recorder.complete
    try:
        value = await process
    except (ProcessCrashed, asyncio.CancelledError) as error:
        if not process.alive:
            complete("info", begun, data=describe_error(error))
        raise
    except Exception as error:
        complete("fail", begun, cause_of(error), describe_error(error))
        raise
    complete("ok", begun, data=None if value is None else {"value": value})
    return value
