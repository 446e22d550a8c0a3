"""Whatever a user passes, made plain JSON at the moment it is recorded.

At that moment, because the value may change later; and never by ``repr``, because an address in memory is
different in every run. The bounds keep a careless ``data=`` (a whole data frame, a structure that contains
itself) from filling the history.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final
from uuid import UUID

__all__ = ["Plain", "describe_error", "plain_data", "to_json"]

DEPTH_MAX: Final = 10
ITEMS_MAX: Final = 10_000  # in one value, all levels together
TEXT_MAX: Final = 20_000  # characters
INT_MAX: Final = 1 << 256  # a longer one is hardly a number; and Python refuses to print very long ones

to_json: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode
"""The one spelling of a value: ASCII, so that its bytes are the same everywhere, and no spaces."""

_sortable: Final = json.JSONEncoder(sort_keys=True).encode
_ADDRESS = re.compile(r"(?<= at )0x[0-9a-fA-F]+")
_AS_TEXT = (Decimal, UUID, PurePath, timedelta)


class Plain(dict[str, Any]):
    """Data that is plain JSON already and never changes: recorded as it is.

    What a design says of itself at each run (its steps, its policies) is made plain once, when the design
    is built: ``Plain.of(data)``.
    """

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Plain:
        """Make data plain, once and for all."""
        return cls(plain_data(data))


def plain_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the data of an operation into plain JSON values."""
    if data.__class__ is Plain:
        return data
    for key, value in data.items():
        kind = type(value)
        if type(key) is not str or not (
            (kind is str and len(value) <= TEXT_MAX)
            or value is None
            or kind is bool
            or (kind is int and -INT_MAX < value < INT_MAX)
            or (kind is float and isfinite(value))
        ):
            return _Plainer().mapping(data, 0)
    return dict(data)  # the common case: a few plain values, no need to look deeper


def describe_error(error: BaseException) -> dict[str, str]:
    """Name an error as data: ``{"error": "ConnectionError", "message": "down"}``.

    Addresses in the message (``<object at 0x7f...>``) are masked, since they differ from run to run.
    """
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ in user code must not break the record of its error
        message = ""
    if " at 0x" in message:
        message = _ADDRESS.sub("0x...", message)
    return {
        "error": _name_of_error(type(error)),
        "message": message if len(message) <= TEXT_MAX else _cut(message),
    }


def _type_name(cls: type | FunctionType | BuiltinFunctionType) -> str:
    module = cls.__module__
    return cls.__qualname__ if module in {"builtins", None} else f"{module}.{cls.__qualname__}"


_name_of_error: Final[Callable[[Any], str]] = lru_cache(maxsize=1024)(_type_name)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... (+{len(text) - TEXT_MAX} characters)"


class _Plainer:
    """One conversion; it counts the items of the whole value."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items = 0

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return value if len(value) <= TEXT_MAX else _cut(value)
        if value is None or kind is bool:
            return value
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, str):
            return _cut(str.__str__(value))
        return self._composite(value, depth)

    def _composite(self, value: Any, depth: int) -> Any:
        if depth >= DEPTH_MAX:
            return "..."
        if isinstance(value, list | tuple):
            return self._sequence(value, depth)
        if isinstance(value, AbstractSet):
            return self._set(value, depth)
        if isinstance(value, BaseException):
            return describe_error(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return self.mapping(value, depth) if isinstance(value, Mapping) else _leaf(value)

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if self._full():
                plain["..."] = f"+{len(value) - len(plain)} items"
                break
            plain[key if type(key) is str else self._key(key, depth)] = self.value(item, depth + 1)
        return plain

    def _sequence(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        plain: list[Any] = []
        for item in value:
            if self._full():
                plain.append(f"... (+{len(value) - len(plain)} items)")
                break
            plain.append(self.value(item, depth + 1))
        return plain

    def _set(self, value: AbstractSet[Any], depth: int) -> list[Any]:
        # Each item by a conversion of its own: one shared count would cut off by the order of the set.
        items = sorted((_Plainer().value(item, depth + 1) for item in value), key=_sortable)
        return self._sequence(items, depth)

    def _key(self, key: Any, depth: int) -> str:
        plain = self.value(key, depth + 1)
        return plain if isinstance(plain, str) else to_json(plain)

    def _full(self) -> bool:
        self._items += 1
        return self._items > ITEMS_MAX


def _number(value: float) -> int | float | str:
    """Free a number of its subclass (numpy's float64 is one), and spell out what JSON has no word for."""
    if isinstance(value, int):
        return int(value) if -INT_MAX < value < INT_MAX else hex(value)
    return float(value) if isfinite(value) else str(float(value))


def _leaf(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return _cut(value.hex())
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, _AS_TEXT):
        return _cut(str(value))
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        return f"<{_type_name(value)}>"
    cls = type(value)
    return f"<{cls.__module__}.{cls.__qualname__}>"
