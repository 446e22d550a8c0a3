"""Payload codecs: every payload in a message is decoded or encoded, as Core's worker does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from temporalio.api.common.v1 import Payload

from wfsim_temporal.errors import NotSimulated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable


_PAYLOAD: Final = "temporal.api.common.v1.Payload"
_LEAVES: Final = ("google.protobuf.Duration", "google.protobuf.Timestamp")
_SKIPPED: Final = ("headers", "search_attributes")  # the SDK leaves them as they are


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a codec's coroutine to its end here and now. Raises NotSimulated if it waits for something."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise NotSimulated(
        "a payload codec that waits (for a key server, say) is not simulated; give one that does not"
    )


def change_payloads(message: Any, change: Callable[[list[Any]], Iterable[Any]]) -> None:
    """Put ``change`` of every payload in its place, throughout a message."""
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None or field.name in _SKIPPED:
            continue
        if kind.GetOptions().map_entry:
            _change_map(kind, value, change)
        elif kind.full_name == _PAYLOAD:
            _change_field(field, value, change)
        elif _is_repeated(field):
            for one in value:
                change_payloads(one, change)
        elif kind.full_name not in _LEAVES:
            change_payloads(value, change)


def _change_map(kind: Any, value: Any, change: Callable[[list[Any]], Iterable[Any]]) -> None:
    inner = kind.fields_by_name["value"].message_type
    if inner is None:
        return
    for key in sorted(value):
        if inner.full_name == _PAYLOAD:
            value[key].CopyFrom(*change([value[key]]))
        else:
            change_payloads(value[key], change)


def _change_field(field: Any, value: Any, change: Callable[[list[Any]], Iterable[Any]]) -> None:
    if not _is_repeated(field):
        value.CopyFrom(*change([value]))
        return
    changed = [Payload.FromString(one.SerializeToString()) for one in change(list(value))]
    del value[:]
    value.extend(changed)


def _is_repeated(field: Any) -> bool:
    known = getattr(field, "is_repeated", None)
    if known is None:  # protobuf before 6
        return bool(field.label == field.LABEL_REPEATED)
    return bool(known() if callable(known) else known)
