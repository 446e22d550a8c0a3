"""The arguments of a call as data, for runs that are asked to record them."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from wfsim.history import plain_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ARGUMENTS = "arguments"
"""Where an operation's data holds them."""


def with_arguments(
    fn: Callable[..., Any], args: tuple[Any, ...], data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Give the data of an operation with the arguments that its function is called with."""
    return plain_data({**(data or {}), ARGUMENTS: _spread(_named(fn, args))})


def _named(fn: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    """Give the arguments by the names of their parameters, defaults and those of a ``partial`` among them.

    What has no name is called by its place.
    """
    # A wrapper's method says nothing of the names; what the wrapper wraps does.
    fn = getattr(getattr(fn, "__self__", None), "__wrapped__", fn)
    keywords: dict[str, Any] = {}
    while isinstance(fn, partial):
        fn, args, keywords = fn.func, (*fn.args, *args), {**fn.keywords, **keywords}
    try:
        signature = inspect.signature(fn)
        bound = signature.bind(*args, **keywords)
    except (TypeError, ValueError):  # built-in code tells nothing; what does not fit, the call itself refuses
        return {str(place): value for place, value in enumerate(args)} | keywords
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found |= {str(place): one for place, one in enumerate(value, start=len(found))}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        else:
            found[name] = value
    return found


def _spread(named: dict[str, Any]) -> dict[str, Any]:
    """Put in place of a context what it holds (``as_arguments``): that is what the function was given."""
    spread: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in named.items():
        told = getattr(type(value), "as_arguments", None)
        if callable(told):
            spread |= told(value)
        else:
            own[name] = value
    return spread | own
