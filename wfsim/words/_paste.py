"""A fault rule as the line of Python that makes it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wfsim.nemesis import Rule

_SHORT: Final = {
    "fail": ("step",),
    "delay": ("step",),
    "hang": ("step",),
    "lose_reply": ("step",),
    "crash": ("step",),
    "lose_event": ("topic", "subscriber"),
    "duplicate": ("topic", "subscriber"),
    "reorder": ("topic", "subscriber"),
    "corrupt": ("topic", "subscriber"),
}
"""The rules that a shorthand makes, and which fields that takes by position, or under another name."""
_OTHER_NAMES: Final = {"attempt": "attempts", "subscriber": "to"}


def as_code(rule: Rule) -> str:
    """Write a rule as Python: ``fail('charge', count=1)``. What no shorthand makes is written as data."""
    kind = rule.fault.kind
    if kind not in _SHORT or (kind == "fail" and rule.fault.describe()["error"] != _INJECTED):
        return f"Rule.from_dict({rule.describe()!r})"
    first, *rest = _SHORT[kind]
    value = getattr(rule, first)
    parts = [] if value is None else [repr(value)]
    parts += [f"{name}={value!r}" for name, value in rule.fault.describe().items() if name not in _TOLD]
    for field in fields(rule)[1:]:
        value = getattr(rule, field.name)
        if field.name != first and value != field.default:
            name = (
                _OTHER_NAMES.get(field.name, field.name) if field.name != "subscriber" or rest else field.name
            )
            parts.append(f"{name}={value!r}")
    return f"{kind}({', '.join(parts)})"


_TOLD: Final = ("kind", "error")
_INJECTED: Final = "wfsim.errors.InjectedFault"


def in_words(rule: Any) -> str:
    """Name a rule in a list."""
    return "no fault" if rule is None else as_code(rule)
