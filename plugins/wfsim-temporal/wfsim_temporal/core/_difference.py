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
            texts = _excerpts(*(_text(getattr(body, field.name)) for body in (one, other)))
            return f"{first} with {label} {texts[0]}", f"{first} with {label} {texts[1]}"
    return first, second


def _parts(command: Any) -> tuple[str, Any]:
    kind = command.WhichOneof("variant")
    return kind, getattr(command, kind)


def _excerpts(one: str, other: str) -> list[str]:
    """Shorten two texts to where they begin to differ."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    start = max(0, same - _SHOWN // 2) if max(len(one), len(other)) > _SHOWN else 0
    end = start + _SHOWN
    return ["..." * (start > 0) + text[start:end] + "..." * (len(text) > end) for text in (one, other)]


def _text(value: Any) -> str:
    if hasattr(value, "data") and hasattr(value, "metadata"):  # a payload
        return str(value.data.decode(errors="replace"))
    if hasattr(value, "append"):
        return ", ".join(map(_text, value)) or "none"
    if hasattr(value, "ToJsonString"):  # a duration, a date
        return str(value.ToJsonString())
    return " ".join(str(value).split()) or "none"
