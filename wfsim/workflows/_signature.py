"""What a user's function takes, decided once, while the design is built."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import Any

from wfsim.errors import DesignError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Takes:
    """How many arguments a function wants: ``least`` have no default, ``most`` is None after ``*args``.

    Only ``least`` says that a function wants something: a default often holds a value on purpose, as in
    ``lambda order=order: pay(order)``.
    """

    least: int
    most: int | None

    def fits(self, count: int) -> bool:
        return self.least <= count and (self.most is None or count <= self.most)

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.least} or more arguments"
        words = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"{words} argument{'' if words == '1' else 's'}"


_known = lru_cache(Takes)  # there are few of them, and to make one takes as long as to read the function


def takes(fn: object, part: str) -> Takes:
    """Read a function's signature. Raise DesignError, naming the ``part``, if nobody can call it."""
    # inspect takes its time, and designs have many steps. To look into `fn.__dict__` would make one.
    if fn.__class__ is FunctionType and not hasattr(fn, "__wrapped__") and not hasattr(fn, "__signature__"):
        code = fn.__code__
        if not code.co_kwonlyargcount and not code.co_flags & inspect.CO_VARKEYWORDS:
            most = code.co_argcount
            least = most - len(fn.__defaults__ or ())
            return _known(least, None if code.co_flags & inspect.CO_VARARGS else most)
    if not callable(fn):
        raise DesignError(f"{part} cannot be called: {_what(fn)}")
    try:
        parameters = inspect.signature(fn).parameters.values()
    except ValueError:
        raise DesignError(f"{part} does not tell what arguments it takes; wrap it: lambda: ...") from None
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if named:
        raise DesignError(
            f"{part} needs {', '.join(named)} by keyword, which nobody gives; wrap it in a lambda"
        )
    plain = [p for p in parameters if p.kind in _POSITIONAL]
    endless = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return Takes(sum(p.default is p.empty for p in plain), None if endless else len(plain))


def _what(value: Any) -> str:
    if inspect.iscoroutine(value):
        value.close()  # it would only warn that nobody awaited it
        return f"it is what {value.__qualname__}() returned; pass the function itself, without the brackets"
    return f"it is {value!r}; pass a function"
