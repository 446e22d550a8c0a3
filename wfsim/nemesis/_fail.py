"""Fail: the call raises, without any effect."""

from __future__ import annotations

import builtins
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, Unpack

from wfsim.errors import DesignError, InjectedFault
from wfsim.nemesis._rule import Rule, Where, check_options, fault_kind, rule

if TYPE_CHECKING:
    from wfsim.kernel import FaultPoint, Simulation

ErrorLike: TypeAlias = Exception | type[Exception] | Callable[[], Exception]


@fault_kind
@dataclass(frozen=True, slots=True)
class Fail:
    """The call raises ``error`` before it has any effect.

    ``error`` is an exception, of which each strike raises a copy; an exception type; or a function that makes
    an exception, for one that cannot be copied. Without it, InjectedFault is raised.
    """

    error: ErrorLike = field(default=InjectedFault, compare=False)
    _described: str = field(init=False, repr=False)  # what makes two of them equal
    _data: dict[str, Any] = field(init=False, repr=False, compare=False)
    kind: ClassVar[str] = "fail"
    point: ClassVar[str] = "call"

    def __post_init__(self) -> None:
        error = self.error
        if isinstance(error, Exception):
            # The user's own may be raised elsewhere, and changed.
            object.__setattr__(self, "error", _copy(error))
        example = self.error_at("a step")
        described: dict[str, Any] = {"kind": self.kind, "error": _type_name(type(example))}
        if not isinstance(error, type) and example.args:
            described["args"] = _plain_args(example)
        object.__setattr__(self, "_described", json.dumps(described))
        object.__setattr__(self, "_data", described)

    def error_at(self, step: str) -> Exception:
        """Make the error for a step of this name."""
        error: Any = self.error
        if isinstance(error, type):
            return _instance(error, f"injected into {step}")
        made = error() if callable(error) else error
        if not isinstance(made, Exception):
            raise DesignError(
                f"error={error!r} of a fault must be an exception, its type, or a function that makes one"
            )
        return _copy(made) if made is error else made

    def describe(self) -> dict[str, Any]:
        """Give the fault as plain data: the name of the error's type and its arguments."""
        return dict(self._data)

    async def strike(self, simulation: Simulation, at: FaultPoint) -> None:  # noqa: ARG002
        """Raise the error."""
        raise self.error_at(at.name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the fault again from its data. Raise DesignError if the error's type is not to be found."""
        check_options(cls.kind, data, ("error", "args"))
        found = _find_type(data["error"]) if "error" in data else InjectedFault
        return cls(found(*data["args"]) if "args" in data else found)


def fail(step: str | None = None, *, error: ErrorLike = InjectedFault, **where: Unpack[Where]) -> Rule:
    """Let a step fail with ``error``, at those of its calls that ``where`` (see :class:`Rule`) fits.

    ::

        fail("charge", error=ConnectionError("down"), attempts=[1, 2])
    """
    return rule(Fail(error), step, where)


def _copy(error: Exception) -> Exception:
    """Copy an exception: one that is raised again and again would gather notes and tracebacks."""
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - whatever its constructor thinks of its own arguments
        twin = None
    if type(twin) is type(error) and twin.args == error.args:
        return twin
    raise DesignError(f"{error!r} cannot be copied; give a function that makes it: error=lambda: ...")


def _instance(kind: type[Exception], message: str) -> Exception:
    try:
        return kind(message)
    except Exception:  # noqa: BLE001 - a type with arguments of its own
        raise DesignError(
            f"{kind.__name__} needs more than a message; give one that is made: error=..."
        ) from None


def _plain_args(error: Exception) -> list[Any]:
    try:
        return list(json.loads(json.dumps(error.args)))
    except (TypeError, ValueError):
        return [str(error)]


def _type_name(kind: type) -> str:
    """Name a type as the history names the type of an error."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _find_type(name: str) -> type[Exception]:
    """Find the exception type of this name: a builtin, or ``package.module.Class``."""
    module, _, rest = str(name).rpartition(".")
    found: Any = getattr(builtins, rest, None) if not module else None
    try:
        found = getattr(import_module(module), rest, None) if module else found
    except ImportError:
        found = None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    raise DesignError(
        f"there is no exception {name!r}; write a builtin such as ConnectionError, or package.module.Class"
    )
