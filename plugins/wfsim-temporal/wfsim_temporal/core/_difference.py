"""How two commands of a workflow differ, in words: what it did first, and what on replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES: Final = ("activity_type", "workflow_type", "signal_name", "patch_id", "seq")
_SHOWN: Final = 60


def named(commands: Sequence[Any]) -> str:
    """Name the first of some commands; "nothing" if there is none."""
    if not commands:
        return "nothing"
    kind, body = _parts(commands[0])
    names = [name for name in _NAMES if name in body.DESCRIPTOR.fields_by_name]
    return f"{kind.replace('_', ' ')} {getattr(body, names[0])}" if names else kind.replace("_", " ")


def difference(before: Sequence[Any], after: Sequence[Any]) -> tuple[str, str]:
    """Name the first of either; if that is the same, also what of it differs."""
    first, second = named(before), named(after)
    if first != second or not (before and after):
        return first, second
    one, other = _parts(before[0])[1], _parts(after[0])[1]
    for field in one.DESCRIPTOR.fields:
        if getattr(one, field.name) != getattr(other, field.name):
            label = field.name.replace("_", " ")
            told = [f"{first} with {label} {_shown(getattr(body, field.name))}" for body in (one, other)]
            return told[0], told[1]
    return first, second


def _parts(command: Any) -> tuple[str, Any]:
    kind = command.WhichOneof("variant")
    return kind, getattr(command, kind)


def _shown(value: Any) -> str:
    if hasattr(value, "data") and hasattr(value, "metadata"):  # a payload
        text = value.data.decode(errors="replace")
    elif hasattr(value, "append"):
        text = ", ".join(map(_shown, value)) or "none"
    elif hasattr(value, "ToJsonString"):  # a duration, a date
        text = value.ToJsonString()
    else:
        text = " ".join(str(value).split()) or "none"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
