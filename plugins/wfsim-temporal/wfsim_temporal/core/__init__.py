"""Temporal's Core: workflow tasks, the SDK's own instance of a workflow, its state machines, replay."""

from __future__ import annotations

from wfsim_temporal.core._activation import Activation
from wfsim_temporal.core._instance import ActivationFailed, CachedWorkflow, CommandRefused, in_order
from wfsim_temporal.core._machines import Command
from wfsim_temporal.core._open_workflows import note_open_workflows
from wfsim_temporal.core._workflow_task import WorkflowTask

__all__ = [
    "Activation",
    "ActivationFailed",
    "CachedWorkflow",
    "Command",
    "CommandRefused",
    "WorkflowTask",
    "in_order",
    "note_open_workflows",
]
