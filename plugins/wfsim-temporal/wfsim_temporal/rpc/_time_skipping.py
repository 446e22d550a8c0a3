"""The server's call that waits for the fast-forward of a workflow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from wfsim_temporal.rpc._workflow import execution_of

if TYPE_CHECKING:
    from wfsim_temporal.server import Server

# FastForwardPollingResult
_COMPLETED: Final = 2
_FAILED: Final = 3
_NO_MATCH: Final = "the requested fast_forward_id does not match the execution's current fast-forward"
_ENDED: Final = "the execution ended before the fast-forward completed"


async def _poll(server: Server, request: Any, answer: type[Any]) -> Any:
    named = request.workflow_execution
    while True:
        execution = execution_of(server, named)
        skipping = server.skipping.get(named.workflow_id)
        if skipping is None:
            return answer(fast_forward_polling_result=_FAILED, failed_reason=_NO_MATCH)
        told = {"fast_forward_info": skipping.forward()}
        if skipping.config.fast_forward_config.id != request.fast_forward_id:
            return answer(fast_forward_polling_result=_FAILED, failed_reason=_NO_MATCH, **told)
        if skipping.is_done:
            return answer(fast_forward_polling_result=_COMPLETED, **told)
        if execution.is_closed:
            return answer(fast_forward_polling_result=_FAILED, failed_reason=_ENDED, **told)
        ends = asyncio.shield(execution.closed)
        await asyncio.wait((skipping.replaced, ends), return_when=asyncio.FIRST_COMPLETED)
        if ends.done():
            ends.result()  # one that gets nowhere says so


CALLS: Final[dict[str, Any]] = {"poll_workflow_execution_time_skipping": _poll}
"""The calls by their names in ``temporal.api.workflowservice``."""
