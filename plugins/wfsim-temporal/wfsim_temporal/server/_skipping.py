"""Workflows with a clock of their own, which the SDK's newer test environment asks for.

Here time passes as fast as it can in any case, and all share one clock: to forward a workflow is to wait in virtual
time. What is asked for is kept, and told as by a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    import asyncio

    from wfsim_temporal.execution import Execution
    from wfsim_temporal.server._server import Server

_SKIPS_MAX: Final = 200


@dataclass(eq=False)
class Skipping:
    """What was asked for a workflow id. ``replaced`` is done when something else is asked."""

    config: Any
    replaced: asyncio.Future[None]
    target_ns: int | None = None
    is_done: bool = False

    def forward(self) -> dict[str, Any] | None:
        """Describe its fast-forward, if it has one."""
        if self.target_ns is None:
            return None
        asked = self.config.fast_forward_config
        return {
            "fast_forward_id": asked.id,
            "fast_forward_duration": asked.duration,
            "target_time": _timestamp(self.target_ns),
            "has_completed": self.is_done or None,
        }


def _timestamp(ns: int) -> dict[str, int]:
    return {"seconds": ns // NS_PER_SECOND, "nanos": ns % NS_PER_SECOND}


def ask_to_skip(server: Server, workflow_id: str, config: Any) -> Any:
    """Take a configuration for a workflow id, and give it completed."""
    before = server.skipping.get(workflow_id)
    if before is not None and not before.replaced.done():
        before.replaced.set_result(None)
    made = server.skipping[workflow_id] = Skipping(type(config)(), server.future())
    made.config.CopyFrom(config)
    made.config.max_session_skip_count = config.max_session_skip_count or _SKIPS_MAX
    if config.HasField("fast_forward_config"):
        made.target_ns = server.now_ns + config.fast_forward_config.duration.ToNanoseconds()
        delay_ns = made.target_ns - server.now_ns
        server.after(delay_ns, _reach, server, workflow_id, made)
    return made.config


def _reach(server: Server, workflow_id: str, skipping: Skipping) -> None:
    execution = server.find(workflow_id)
    if execution is not None and not execution.is_closed and server.skipping.get(workflow_id) is skipping:
        skipping.is_done, skipping.config.enabled = True, False
        skipping.replaced.set_result(None)


def skipping_info(server: Server, execution: Execution) -> dict[str, Any] | None:
    """Describe what was asked for an execution; None if nothing ever was."""
    skipping = server.skipping.get(execution.start.workflow_id)
    if skipping is None:
        return None
    now_ns = execution.closed_ns if execution.is_closed else server.now_ns
    return {"current_time": _timestamp(now_ns), "effective_config": skipping.config}
