"""What is given to ``simulate``, checked before anything runs: what is wrong is told in one message."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import temporalio.workflow

from wfsim.errors import DesignError
from wfsim_temporal.server import Settings

if TYPE_CHECKING:
    from collections.abc import Callable


def definition_of(main: Any) -> Any:
    """Give the SDK's definition of a workflow class; None for anything else."""
    return temporalio.workflow._Definition.from_class(main) if inspect.isclass(main) else None


def listed(name: str, given: Any) -> tuple[Any, ...]:
    """Give a list of workflows or activities as a tuple. Raises DesignError for what is none."""
    if callable(given) or isinstance(given, str | dict) or not hasattr(given, "__iter__"):
        shown = getattr(given, "__name__", repr(given))
        raise DesignError(f"{name}={shown} must be a list: {name}=[{shown}]")
    return tuple(given)


def check_workers(task_queue: Any, workers: Any) -> None:
    """Raise DesignError unless so many workers can run for a task queue."""
    if not isinstance(task_queue, str) or not task_queue:
        raise DesignError(f"task_queue={task_queue!r} must be a name")
    if type(workers) is not int or workers < 1:
        raise DesignError(f"workers={workers!r} must be a whole number of 1 or more: how many run")


def check_settings(settings: Any) -> None:
    """Raise DesignError for settings that are none."""
    if settings is not None and not isinstance(settings, Settings):
        raise DesignError(f"settings={settings!r} must be Settings, such as Settings(replay_every_task=True)")


def check_main(main: Any, args: tuple[Any, ...], *, takes_client: bool) -> None:
    """Raise DesignError for what is neither a workflow's class nor a function that can be called so."""
    if definition_of(main) is None:
        _check_function(main, args, takes_client=takes_client)


def check_arguments(workflow: Any, args: tuple[Any, ...]) -> None:
    """Raise DesignError if a workflow cannot be called with these; what a dynamic one is called with is known later."""
    definition = definition_of(workflow)
    if definition is None or definition.name is None:
        return
    try:
        inspect.signature(definition.run_fn).bind(None, *args)
    except TypeError as error:
        raise DesignError(f"{_shown(workflow)}.run cannot be called with {list(args)!r}: {error}") from None


async def called(main: Callable[..., Any], *args: Any) -> Any:
    """Call a coroutine function. Raises DesignError if it is a plain one."""
    doing = main(*args)
    if not inspect.isawaitable(doing):
        raise DesignError(
            f"{_shown(main)} is a plain function, and what a client does is awaited: write async def"
        )
    return await doing


def _check_function(main: Any, args: tuple[Any, ...], *, takes_client: bool) -> None:
    owner = getattr(main, "__temporal_workflow_definition", None) or definition_of(type(main))
    if owner is not None:
        name = owner.cls.__name__
        raise DesignError(f"hand over the workflow's class: simulate({name}, ...), not {_shown(main)}")
    if isinstance(main, type):
        raise DesignError(f"{main.__name__} is no workflow; decorate it with @workflow.defn")
    if not callable(main):
        raise DesignError(
            f"{main!r} cannot be run; simulate a class with @workflow.defn, or a coroutine function"
        )
    _check_call(main, ("client", *args) if takes_client else args, takes_client=takes_client)


def _check_call(main: Callable[..., Any], args: tuple[Any, ...], *, takes_client: bool) -> None:
    try:
        inspect.signature(main).bind(*args)
    except TypeError as error:
        name = _shown(main)
        told = (
            f"{name} is called with a client and args, because workflows or activities are given"
            if takes_client
            else f"{name} is called with args alone; it gets a client if workflows or activities are given"
        )
        raise DesignError(f"{told}; but: {error}") from None
    except ValueError:  # it tells nothing of its parameters
        return


def _shown(main: Any) -> str:
    main = getattr(main, "func", main)  # of a partial
    return str(getattr(main, "__qualname__", None) or f"an instance of {type(main).__name__}")
