"""The servers and their namespaces: executions, task queues, schedules, resets, what clients start by themselves."""

from __future__ import annotations

from wfsim_temporal.server._hosts import Host, Hosts, Namespace, hosts_here, no_namespace
from wfsim_temporal.server._reset import Reset, reset, task_id_of
from wfsim_temporal.server._schedule import Schedule
from wfsim_temporal.server._server import Server, Settings
from wfsim_temporal.server._skipping import ask_to_skip, skipping_info
from wfsim_temporal.server._standalone import StandaloneActivity
from wfsim_temporal.server._standalone_nexus import StandaloneNexusOperation

__all__ = [
    "Host",
    "Hosts",
    "Namespace",
    "Reset",
    "Schedule",
    "Server",
    "Settings",
    "StandaloneActivity",
    "StandaloneNexusOperation",
    "ask_to_skip",
    "hosts_here",
    "no_namespace",
    "reset",
    "skipping_info",
    "task_id_of",
]
