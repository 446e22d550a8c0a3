"""Search attributes as the server keeps them: each with its type, and none without a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import Payload

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMPTY: Final = frozenset((b"", b"null", b"[]"))


def typed(fields: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Note the registered type of each attribute whose sender did not."""
    return {name: _typed(payload, types.get(name)) for name, payload in fields.items()}


def _typed(payload: Any, kind: str | None) -> Any:
    if kind is None or payload.metadata.get("type"):
        return payload
    return Payload(metadata={**payload.metadata, "type": kind.encode()}, data=payload.data)


def merged(known: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is known after changes; null, or an empty list, takes an attribute away."""
    return {name: one for name, one in {**known, **changes}.items() if one.data not in _EMPTY}
