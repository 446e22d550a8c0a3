"""What every journal promises, and how a record is spelt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Mapping


@runtime_checkable
class Journal(Protocol):
    """A log for each key: records are added at its end and never changed.

    It is what a flow needs in order to go on after a crash. Anything with these two methods will do.
    """

    async def append(self, key: str, record: Mapping[str, Any]) -> None:
        """Add a record, of plain JSON values, to those of ``key``. When this returns, it is durable."""

    async def read(self, key: str) -> list[dict[str, Any]]:
        """Give the records of ``key`` in the order in which they were appended; none for an unknown key."""


def to_text(key: str, record: Mapping[str, Any]) -> str:
    """Write a record as JSON. Raise DesignError, with the field, if it holds anything that JSON lacks.

    What comes back must equal what was given: a tuple would come back as a list, a key that is a number as
    text, so neither is let through.
    """
    for field, value in record.items():
        _check(value, f"{field!r} of the record for {key!r}")
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _check(value: object, part: str) -> None:
    if value is None or isinstance(value, bool | int | float | str):
        return
    if type(value) is list:
        for place, item in enumerate(value):
            _check(item, f"item {place} in {part}")
    elif type(value) is dict:
        for name, item in value.items():
            if not isinstance(name, str):
                raise DesignError(
                    f"{part} has the key {name!r}, which is no text; a journal holds plain JSON"
                )
            _check(item, f"{name!r} in {part}")
    else:
        raise DesignError(
            f"{part} is {type(value).__qualname__}, which JSON cannot hold and so no journal can give back; "
            "make it of None, bool, numbers, texts, lists and dicts"
        )
