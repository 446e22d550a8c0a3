"""Links from an event to what brought it about, or to what it led to: as Temporal keeps them and as Nexus sends them.

Source: ``common/nexus/link_converter.go`` of the server.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from temporalio.api.common.v1 import Link
from temporalio.api.enums.v1 import EventType

_TYPE: Final = Link.WorkflowEvent.DESCRIPTOR.full_name
_KNOWS_ACTIVITIES: Final = "activity" in Link.DESCRIPTOR.fields_by_name  # older releases of the SDK do not
_OF_ACTIVITY: Final = f"{Link.DESCRIPTOR.full_name}.Activity"
_ACTIVITY_PATH: Final = re.compile(r"/namespaces/([^/]+)/activities/([^/]+)/([^/]+)/details")
_PATH: Final = re.compile(r"/namespaces/([^/]+)/workflows/([^/]+)/([^/]+)/history")
_BY_EVENT: Final = "EventReference"


def link_to_event(namespace: str, workflow_id: str, run_id: str, event_id: int, kind: str) -> Any:
    """Make a link to an event of a kind ("TIMER_FIRED") of a run."""
    link = _link(namespace, workflow_id, run_id)
    link.workflow_event.event_ref.event_id = event_id
    link.workflow_event.event_ref.event_type = EventType.Value(f"EVENT_TYPE_{kind}")
    return link


def link_to_request(namespace: str, workflow_id: str, run_id: str, request_id: str, kind: str) -> Any:
    """Make a link to the event of a kind that a request brought about."""
    link = _link(namespace, workflow_id, run_id)
    link.workflow_event.request_id_ref.request_id = request_id
    link.workflow_event.request_id_ref.event_type = EventType.Value(f"EVENT_TYPE_{kind}")
    return link


def link_to_activity(namespace: str, activity_id: str, run_id: str) -> Any:
    """Make a link to an activity that no workflow asked for; None if the SDK knows no such links."""
    if not _KNOWS_ACTIVITIES:
        return None
    made = Link()
    made.activity.namespace, made.activity.activity_id, made.activity.run_id = namespace, activity_id, run_id
    return made


def link_to_workflow(namespace: str, workflow_id: str, run_id: str, reason: str) -> Any:
    """Make a link to a run for a reason; None if the SDK knows no such links."""
    if "workflow" not in Link.DESCRIPTOR.fields_by_name:
        return None
    told = Link.Workflow(namespace=namespace, workflow_id=workflow_id, run_id=run_id, reason=reason)
    return Link(workflow=told)


def _link(namespace: str, workflow_id: str, run_id: str) -> Any:
    return Link(
        workflow_event=Link.WorkflowEvent(namespace=namespace, workflow_id=workflow_id, run_id=run_id)
    )


def as_nexus(link: Any) -> dict[str, str]:
    """Give a link to an event as Nexus has it: a URL and its type."""
    told = link.workflow_event
    path = "/".join(
        quote(part, safe="") for part in (told.namespace, "workflows", told.workflow_id, told.run_id)
    )
    words = EventType.Name(told.event_ref.event_type).removeprefix("EVENT_TYPE_").split("_")
    query = {
        "eventID": told.event_ref.event_id,
        "eventType": "".join(word.capitalize() for word in words),
        "referenceType": _BY_EVENT,
    }
    return {"url": f"temporal:///namespaces/{path}/history?{urlencode(query)}", "type": _TYPE}


def from_nexus(links: Any) -> list[Any]:
    """Read the links that a handler gives; those of other types are left out, as by the server."""
    readers = {_TYPE: _read, _OF_ACTIVITY: _read_activity}
    read = (readers[one.type](one.url) for one in links if one.type in readers)
    return [one for one in read if one is not None]


def _read_activity(url: str) -> Any:
    found = _ACTIVITY_PATH.fullmatch(urlsplit(url).path)
    return None if found is None else link_to_activity(*(unquote(part) for part in found.groups()))


def _read(url: str) -> Any:
    parts = urlsplit(url)
    found = _PATH.fullmatch(parts.path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    kind = _kind(query.get("eventType", ""))
    if found is None or kind is None:
        return None
    namespace, workflow_id, run_id = (unquote(part) for part in found.groups())
    if query.get("referenceType") == _BY_EVENT:
        return link_to_event(namespace, workflow_id, run_id, int(query.get("eventID", "0")), kind)
    return link_to_request(namespace, workflow_id, run_id, query.get("requestID", ""), kind)


def _kind(name: str) -> str | None:
    """Give the kind of event that a URL names: "TimerFired" or "EVENT_TYPE_TIMER_FIRED"."""
    kind = name if "_" in name else re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
    kind = kind.removeprefix("EVENT_TYPE_")
    return kind if f"EVENT_TYPE_{kind}" in EventType.keys() else None  # noqa: SIM118 - it is no dict
