"""Names for the parts of a design, read off functions; and close ones for a name that is misspelt."""

from __future__ import annotations

import difflib
import dis
import sys
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from types import CodeType

_ATTRIBUTES_TELL_CALLS = sys.version_info >= (3, 12)
_NULL_COMES_AFTER = sys.version_info >= (3, 13)


def name_of(fn: object) -> str | None:
    """Name a step after its function, a lambda after the one function that it calls; else None."""
    while isinstance(fn, partial):
        fn = fn.func
    if isinstance(fn, FunctionType) and fn.__name__ == "<lambda>":
        return _called_by(fn.__code__)
    name = getattr(fn, "__name__", type(fn).__name__)
    return name if callable(fn) and isinstance(name, str) else None


def _called_by(code: CodeType) -> str | None:
    """Give the one name that the code calls. CPython marks a load that a call follows by a NULL."""
    instructions = list(dis.get_instructions(code))
    beside = [None, *instructions, None]
    called = []
    for place, instruction in enumerate(instructions):
        neighbour = beside[place + 2] if _NULL_COMES_AFTER else beside[place]
        if _marked(instruction) or (
            instruction.opname == "LOAD_DEREF" and neighbour is not None and neighbour.opname == "PUSH_NULL"
        ):
            called.append(str(instruction.argval))
    return called[0] if len(called) == 1 else None


def _marked(instruction: dis.Instruction) -> bool:
    """Whether the instruction itself loads a global or an attribute in order to call it."""
    if instruction.opname == "LOAD_METHOD":
        return True
    bit = bool((instruction.arg or 0) & 1)
    return bit and (
        instruction.opname == "LOAD_GLOBAL" or (instruction.opname == "LOAD_ATTR" and _ATTRIBUTES_TELL_CALLS)
    )


def unique(name: str, taken: Container[str]) -> str:
    """Give the name, or the first of ``name-2``, ``name-3`` ... that is free."""
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def checked_name(name: object, part: str) -> str:
    """Raise DesignError if this is no name. ``part`` says what it should name."""
    if isinstance(name, str) and name.strip():
        return name
    raise DesignError(f"the name of {part} must be a text, not {name!r}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give ``"; did you mean 'charge'?"``, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
