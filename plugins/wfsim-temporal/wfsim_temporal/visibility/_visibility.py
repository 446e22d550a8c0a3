"""Listing and counting: executions and schedules as rows of search attributes, chosen by a filter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.service import RPCStatusCode

from wfsim_temporal.execution import PAUSE_INFO
from wfsim_temporal.versions import KEPT
from wfsim_temporal.visibility._filter import STATUS_NAMES, SYSTEM, Row, compile_filter, parse_date, resolve
from wfsim_temporal.visibility._filter_parser import BadFilter, parse_filter
from wfsim_temporal.wire import STATUS, rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server import Schedule, Server

_GROUPED = "ExecutionStatus"
_NO_MORE: Mapping[str, str] = MappingProxyType({})
_Held = TypeVar("_Held")


def find_executions(server: Server, query: str) -> list[Execution]:
    """Give the executions that a filter chooses: those that run first, then the last closed first.

    Raises RPCError INVALID_ARGUMENT if the server would refuse the filter.
    """
    chosen = _choose(server, query, ((one, partial(_column, one)) for one in _known(server)))[0]
    return sorted(chosen, key=_latest_first)


def count_executions(server: Server, query: str) -> tuple[int, list[tuple[Any, int]]]:
    """Count the executions that a filter chooses; with GROUP BY, also by the payload of their status.

    Raises as above.
    """
    rows = ((one, partial(_column, one)) for one in _known(server))
    chosen, group_by = _choose(server, query, rows, counts=True)
    return len(chosen), _by_status(chosen) if group_by else []


def _by_status(chosen: Iterable[Any]) -> list[tuple[Any, int]]:
    groups: dict[int, int] = {}
    for one in chosen:
        groups[STATUS[one.status]] = groups.get(STATUS[one.status], 0) + 1
    return [(_keyword(STATUS_NAMES[number]), count) for number, count in sorted(groups.items())]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of what a client runs without a workflow: its runs, and the attributes that only it has."""

    runs: Callable[[Server], Iterable[Any]]
    types: Mapping[str, str]
    columns: Mapping[str, Callable[[Any], Any]]


def find_standalone(server: Server, query: str, kind: Kind) -> list[Any]:
    """Give the runs of a kind that a filter chooses, in the order of executions. Raises as above."""
    return sorted(_choose_standalone(server, query, kind)[0], key=_latest_first)


def count_standalone(server: Server, query: str, kind: Kind) -> tuple[int, list[tuple[Any, int]]]:
    """Count the runs of a kind that a filter chooses, as executions are counted. Raises as above."""
    chosen, group_by = _choose_standalone(server, query, kind, counts=True)
    return len(chosen), _by_status(chosen) if group_by else []


def _choose_standalone(
    server: Server, query: str, kind: Kind, *, counts: bool = False
) -> tuple[list[Any], str]:
    rows = ((one, partial(_standalone_column, kind, one)) for one in kind.runs(server))
    return _choose(server, query, rows, counts=counts, more=kind.types)


def find_schedules(server: Server, query: str) -> list[Schedule]:
    """Give the schedules that a filter chooses, the latest first. Raises as above."""
    known = [one for one in server.schedules.values() if not one.is_deleted]
    chosen, _ = _choose(server, query, ((one, partial(_schedule_column, one)) for one in known))
    return chosen[::-1]


def _known(server: Server) -> list[Execution]:
    return [one for one in server.executions.values() if not one.is_deleted]


def _choose(
    server: Server,
    query: str,
    rows: Iterable[tuple[_Held, Row]],
    *,
    counts: bool = False,
    more: Mapping[str, str] = _NO_MORE,
) -> tuple[list[_Held], str]:
    """Choose rows; ``more`` are the types of attributes that only rows of this kind have."""
    try:
        types = {**_types(server), **more} if query.strip() else {}
        where, group_by = parse_filter(query)
        fits = None if where is None else compile_filter(where, types)
        grouped = _group(group_by, types) if counts else ""
    except BadFilter as error:
        raise rpc_error(RPCStatusCode.INVALID_ARGUMENT, f"invalid query: {error}") from None
    return [one for one, row in rows if fits is None or fits(row)], grouped


def _group(names: tuple[str, ...], types: dict[str, str]) -> str:
    if not names:
        return ""
    if len(names) > 1:
        raise BadFilter("operation is not supported: 'GROUP BY' clause supports only a single field")
    if resolve(names[0], types) != _GROUPED:
        raise BadFilter(
            f"operation is not supported: 'GROUP BY' clause is not supported for search attribute {names[0]}"
        )
    return _GROUPED


def _latest_first(one: Any) -> tuple[bool, int, int]:
    return one.closed_ns > 0, -one.closed_ns, -one.began_ns


# -- attributes


def _types(server: Server) -> dict[str, str]:
    """Give the types of all attributes: the server's own, those registered, and those that somebody has used."""
    types = dict(server.search_attribute_types)
    held = [one.search_attributes for one in server.executions.values()]
    held += [dict(one.search_attributes.indexed_fields) for one in server.schedules.values()]
    for kind in (ACTIVITIES, OPERATIONS):
        held += [dict(one.search_attributes.indexed_fields) for one in kind.runs(server)]
    for fields in held:
        for name, payload in fields.items():
            types.setdefault(name, payload.metadata.get("type", b"Keyword").decode())
    return {**types, **SYSTEM}


def _column(execution: Execution, name: str) -> Any:
    known = _COLUMNS.get(name)
    if known is not None:
        return known(execution)
    if name in KEPT or name == PAUSE_INFO:
        return _decoded(execution.kept_attributes().get(name))
    return _decoded(execution.search_attributes.get(name))


def _standalone_column(kind: Kind, run: Any, name: str) -> Any:
    known = kind.columns.get(name)
    if known is not None:
        return known(run)
    return _decoded(dict(run.search_attributes.indexed_fields).get(name))


def _schedule_column(schedule: Schedule, name: str) -> Any:
    if name in {"ScheduleId", "WorkflowId"}:
        return schedule.schedule_id
    if name == "TemporalSchedulePaused":
        return schedule.is_paused
    return _decoded(dict(schedule.search_attributes.indexed_fields).get(name))


def _decoded(payload: Any) -> Any:
    if payload is None or payload.metadata.get("encoding") == b"binary/null" or not payload.data:
        return None
    value = json.loads(payload.data)
    kind = payload.metadata.get("type", b"")
    return parse_date(value) if kind == b"Datetime" and isinstance(value, str) else value


def _of_closed(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Give what the server notes when a run has ended."""
    return lambda one: value(one) if one.is_closed else None


_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "WorkflowId": lambda one: one.start.workflow_id,
    "RunId": lambda one: one.run_id,
    "WorkflowType": lambda one: one.start.workflow_type,
    "ExecutionStatus": lambda one: STATUS[one.told_status],
    "TaskQueue": lambda one: one.start.task_queue,
    "StartTime": lambda one: one.began_ns,
    "ExecutionTime": lambda one: one.began_ns + one.start.delay_ns,
    "CloseTime": _of_closed(lambda one: one.closed_ns),
    "ExecutionDuration": _of_closed(lambda one: one.closed_ns - one.began_ns - one.start.delay_ns),
    "HistoryLength": _of_closed(lambda one: len(one.log)),
    "HistorySizeBytes": _of_closed(lambda one: one.log.size),
    "ParentWorkflowId": lambda one: one.start.parent and one.start.parent.owner.start.workflow_id,
    "ParentRunId": lambda one: one.start.parent and one.start.parent.owner.run_id,
    "RootWorkflowId": lambda one: one.root.start.workflow_id,
    "RootRunId": lambda one: one.root.run_id,
}


_STANDALONE: dict[str, Callable[[Any], Any]] = {
    "RunId": lambda one: one.run_id,
    "ExecutionStatus": lambda one: STATUS[one.status],
    "StartTime": lambda one: one.began_ns,
    "CloseTime": lambda one: one.closed_ns or None,
    "ExecutionDuration": lambda one: one.closed_ns - one.began_ns if one.is_gone else None,
}

ACTIVITIES = Kind(
    lambda server: server.standalone,
    dict.fromkeys(("ActivityId", "ActivityType"), "Keyword"),
    {
        **_STANDALONE,
        **dict.fromkeys(("ActivityId", "WorkflowId"), lambda one: one.asked.activity_id),
        "ActivityType": lambda one: one.name,
        "TaskQueue": lambda one: one.task_queue,
        "ExecutionTime": lambda one: one.began_ns + one.delay_ns,
    },
)
"""Activities that no workflow asked for."""
OPERATIONS = Kind(
    lambda server: server.operations,
    dict.fromkeys(("OperationId", "Endpoint", "Service", "Operation"), "Keyword"),
    {
        **_STANDALONE,
        **dict.fromkeys(("OperationId", "WorkflowId"), lambda one: one.asked.operation_id),
        "Endpoint": lambda one: one.asked.endpoint,
        "Service": lambda one: one.asked.service,
        "Operation": lambda one: one.asked.operation,
    },
)
"""Nexus operations that no workflow calls."""


def _keyword(value: str) -> Payload:
    data = json.dumps(value).encode()
    return Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=data)
