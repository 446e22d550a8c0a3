"""The blocking form of a design: run it in virtual time and give its value."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError, SimulationError
from wfsim.kernel import Simulation, current

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wfsim.kernel import Nemesis


def execute(
    what: str,
    run: Callable[..., Coroutine[Any, Any, Any]],
    args: tuple[Any, ...],
    seed: int,
    nemesis: Nemesis | None,
) -> Any:
    """Run ``run(*args)`` in a simulation of its own, or in the one that the calling code is part of."""
    _refuse_inside_coroutine(what)
    if current() is not None:
        if nemesis is not None:
            raise DesignError(
                f"{what}.execute(nemesis=...) inside a simulation: give the faults to the simulation"
            )
        return asyncio.run(_awaiting(run, args))
    outcome = Simulation(seed=seed, nemesis=nemesis).run(run, *args)
    if outcome.name == "ok":
        return outcome.value
    raise outcome.error or SimulationError(f"{what} ended with outcome {outcome.name!r}")


def _refuse_inside_coroutine(what: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise DesignError(
        f"{what}.execute() blocks, and this code runs inside an event loop; write: await {what}.run()"
    )


async def _awaiting(run: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    # The kernel's sleep is a generator, which asyncio.run no longer takes for a coroutine from Python 3.12 on.
    return await run(*args)
