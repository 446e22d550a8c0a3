"""One activation of a workflow, and what it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wfsim_temporal.versions import DeploymentVersion


class Extent(NamedTuple):
    """How long and how big a history was when a workflow task began, and whether the server thought it too long."""

    events: int
    size: int
    is_long: bool


class Activation(NamedTuple):
    """An activation and the commands that it gave: what a replay must give again.

    ``flags`` are those of the SDK's behaviours that it made use of; on replay they are on from its task on.
    ``version`` is that of the worker that has done it, as far as it told one; ``target_changed`` whether a pinned
    workflow could move to another one.
    """

    time_ns: int
    history: Extent
    jobs: list[Any]
    version: DeploymentVersion | None = None
    target_changed: bool = False
    commands: Sequence[Any] = ()
    flags: Sequence[int] = ()

    def told(self) -> Activation:
        """Give what the history tells of it: nothing of the updates that their validators refused."""
        asked = {job.do_update.protocol_instance_id for job in self.jobs if job.HasField("do_update")}
        if not asked:
            return self
        answers = [one.update_response for one in self.commands if one.HasField("update_response")]
        refused = asked - {one.protocol_instance_id for one in answers if one.HasField("accepted")}
        return self._replace(
            jobs=[
                job
                for job in self.jobs
                if not (job.HasField("do_update") and job.do_update.protocol_instance_id in refused)
            ],
            commands=[
                one
                for one in self.commands
                if not (
                    one.HasField("update_response") and one.update_response.protocol_instance_id in refused
                )
            ],
        )
