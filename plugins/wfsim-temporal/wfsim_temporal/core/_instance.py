"""A workflow in a worker's cache: the SDK's own instance, activated as Core would."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import contextmanager
from contextvars import Context
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, NoReturn

import temporalio.common
import temporalio.converter
import temporalio.workflow
from temporalio.api.common.v1 import SearchAttributes
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto import workflow_activation
from temporalio.exceptions import ApplicationError
from temporalio.worker import WorkflowInstanceDetails

from wfsim.errors import Deadlock
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.core._activation import Activation
from wfsim_temporal.core._difference import difference, named
from wfsim_temporal.core._open_workflows import places_in
from wfsim_temporal.core._watchdog import PATIENCE_S, WATCHDOG, Endless
from wfsim_temporal.errors import NonDeterministicWorkflow, WorkflowTaskStuck
from wfsim_temporal.wire import Job, changed, date, delta, job_of, priority_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wfsim_temporal.execution import Execution
    from wfsim_temporal.worker import Session

_LOG = logging.getLogger(__name__)
_INFO_FIELDS: Final = {one.name for one in fields(temporalio.workflow.Info)}
_DETAILS_FIELDS: Final = {one.name for one in fields(WorkflowInstanceDetails)}
_EVICTION_TRIES: Final = 10
_IDENTITY: Final = ("seq", "activity_id", "activity_type", "workflow_id", "workflow_type", "patch_id")
_ORDER: Final = {
    "initialize_workflow": 0,
    "notify_has_patch": 1,
    "update_random_seed": 2,
    "signal_workflow": 3,
    "do_update": 3,
    "query_workflow": 6,
    "remove_from_cache": 7,
}
_DEADLOCK_NS: Final = 2 * NS_PER_SECOND
_ENDLESS: Final = (
    "[TMPRL1101] Potential deadlock detected: workflow didn't yield within {:g} seconds "
    "of real time: it is at {}"
)
_BLOCKED: Final = (
    "[TMPRL1101] Potential deadlock detected: workflow didn't yield, and code in it blocked for {:g} s "
    "(time.sleep, a lock of threading); in a workflow, use workflow.sleep and the locks of asyncio"
)
_SWALLOWED: Final = (
    "it catches BaseException, or CancelledError, and goes on working, where it has to come to an end."
)
_WAITS_FOR_NOBODY: Final = (
    "[TMPRL1101] Potential deadlock detected: code in the workflow blocks (a lock or an Event of threading?), and "
    "nothing is left to happen that could end it"
)
_PLAIN: Final = frozenset((bool, int, str, type(None)))
_RESOLUTION: Final = 4
_LOCAL_RESOLUTION: Final = 5


class ActivationFailed(Exception):
    """The workflow's code, or its codec, raised what fails the workflow task. ``args[0]`` is the failure.

    An error that says itself that it is not to be tried again fails the workflow in place of its task.
    """

    def __init__(self, failure: Failure, error: Exception | None = None) -> None:
        super().__init__(failure)
        self.is_final = isinstance(error, ApplicationError) and error.non_retryable


class CommandRefused(Exception):
    """The server refuses what a workflow asks for. ``args`` are a WorkflowTaskFailedCause and a message."""


def in_order(jobs: list[Job]) -> list[Job]:
    """Sort the jobs of an activation as Core does: patches, then signals and updates, then the rest."""
    return sorted(jobs, key=_place) if len(jobs) > 1 else list(jobs)


def _place(job: Job) -> int:
    kind = job.WhichOneof("variant") or ""
    is_local = kind == "resolve_activity" and job.resolve_activity.is_local
    return _LOCAL_RESOLUTION if is_local else _ORDER.get(kind, _RESOLUTION)


class CachedWorkflow:
    """One workflow instance. It lives in a context of its own and knows nothing of the simulation."""

    def __init__(self, session: Session, execution: Execution) -> None:
        self.turn = asyncio.Lock()
        self._session = session
        self._execution = execution
        self._codec = session.worker.codec
        self._context = Context()
        self._instance: Any = None
        self._flags: list[int] = []
        self._last: Activation | None = None
        self.behavior: int = 0
        self._is_sandboxed = False

    def _enter(self, act: Callable[[Any], Any], argument: Any) -> Any:
        loop, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        # The SDK does this in a thread where no loop looks after async generators.
        sys.set_asyncgen_hooks(None, None)
        try:
            return self._context.run(act, argument)
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(loop)  # the instance is an event loop of its own, and leaves none

    def activate(self, asked: Activation, *, is_replay: bool = False) -> tuple[Sequence[Any], Sequence[int]]:
        """Activate it as asked; give its commands and the flags of the SDK that it used. Raises ActivationFailed."""
        jobs, history, version = asked.jobs, asked.history, asked.version
        activation = workflow_activation.WorkflowActivation(
            run_id=self._execution.run_id,
            is_replaying=is_replay,
            history_length=history.events,
            jobs=jobs,
            available_internal_flags=self._flags,
            history_size_bytes=history.size,
            continue_as_new_suggested=history.is_long,
            target_worker_deployment_version_changed=asked.target_changed,
        )
        if version is not None:
            told = activation.deployment_version_for_current_task
            told.deployment_name, told.build_id = version
        timestamp = activation.timestamp
        timestamp.seconds, timestamp.nanos = divmod(asked.time_ns, NS_PER_SECOND)
        if self._instance is None:
            details = _details(self._session, self._execution, jobs[0].initialize_workflow)
            self._is_sandboxed = details.defn.sandboxed
            self._instance = self._enter(self._session.worker.runner.create_instance, details)
        completion = self._run(activation)
        if completion.HasField("failed"):
            raise ActivationFailed(_explained(completion.failed.failure))
        self._last = asked
        done = completion.successful
        self.behavior = done.versioning_behavior or self.behavior
        if done.used_internal_flags:
            self._flags = sorted({*self._flags, *done.used_internal_flags})
        return done.commands, done.used_internal_flags

    def _run(self, activation: Any) -> Any:
        """Let the code run. Raises WorkflowTaskStuck if it does not come to an end."""
        server = self._execution.server
        began_ns = server.now_ns
        completion, place = None, ""
        WATCHDOG.enter(activation)
        try:
            try:
                completion = self._enter(self._instance.activate, activation)
            finally:
                place = WATCHDOG.leave()
        except Endless:
            place = place or "its end"
        except Exception as error:
            raise ActivationFailed(self._failure_of(error), error) from error
        if place:
            raise self._stuck(_ENDLESS.format(PATIENCE_S, place))
        blocked_ns = server.now_ns - began_ns
        if blocked_ns and (self._is_sandboxed or blocked_ns >= _DEADLOCK_NS):
            raise self._stuck(_BLOCKED.format(blocked_ns / NS_PER_SECOND))
        return completion

    def _stuck(self, message: str) -> WorkflowTaskStuck:
        start = self._execution.start
        return WorkflowTaskStuck(start.workflow_id, start.workflow_type, 1, message)

    def _failure_of(self, error: Exception) -> Failure:
        """Tell of what the SDK's instance raised, as its worker does."""
        converter, failure = self._session.worker.data_converter, Failure()
        try:
            converter.failure_converter.to_failure(error, converter.payload_converter, failure)
        except Exception as wrong:  # noqa: BLE001 - told in the error's place
            failure = Failure(message=f"Failed converting activation exception: {wrong}")
            failure.application_failure_info.SetInParent()
        return failure

    async def decode(self, jobs: list[Job]) -> list[Job]:
        """Give jobs as the workflow is to see them. Raises ActivationFailed, as does ``encode``."""
        with self._failing():
            return await self._codec.decode(jobs, self._converter())

    async def encode(self, commands: Sequence[Any]) -> Sequence[Any]:
        """Give commands as they leave the worker."""
        with self._failing():
            return await self._codec.encode(commands, self._converter())

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Let what a codec raises fail the workflow task, as the SDK's worker does."""
        try:
            yield
        except Exception as error:
            _LOG.warning("a payload codec failed", exc_info=True)
            raise ActivationFailed(self._failure_of(error), error) from error

    def _converter(self) -> Any:
        namespace, workflow_id = self._execution.server.namespace, self._execution.start.workflow_id
        return self._codec.of_workflow(namespace, workflow_id, self._instance)

    def replay(self, tasks: list[list[Activation]]) -> None:
        """Do again what completed tasks did. Raises NonDeterministicWorkflow where it comes out differently."""
        for number, task in enumerate(tasks, 1):
            patches = _patches(task)
            self._flags = sorted({*self._flags, *(flag for done in task for flag in done.flags)})
            for place, done in enumerate(task):
                jobs = [_without_validator(job) for job in done.jobs]
                if place == 0 and patches:
                    jobs = in_order([*patches, *jobs])
                self._replay(number, done, jobs)

    def _replay(self, number: int, done: Activation, jobs: list[Job]) -> None:
        try:
            commands, _ = self.activate(done._replace(jobs=jobs), is_replay=True)
        except ActivationFailed as error:
            self._differs(number, named(done.commands), f"an error: {error.args[0].message}")
        essence = _essence if self._is_judged_closely(done) else _identity
        recorded, replayed = _without_patches(done.commands, commands)
        for place in range(max(len(recorded), len(replayed))):
            before, after = recorded[place : place + 1], replayed[place : place + 1]
            if [essence(one) for one in before] != [essence(one) for one in after]:
                self._differs(number, *difference(before, after))

    def _is_judged_closely(self, done: Activation) -> bool:
        """Whether arguments and times count: a server does not compare them, and a new version may change them."""
        is_own = done.version == self._session.worker.told_as
        return is_own and self._execution.server.settings.replay_every_task

    def _differs(self, number: int, before: str, after: str) -> NoReturn:
        start = self._execution.start
        raise NonDeterministicWorkflow(
            start.workflow_id, start.workflow_type, number, before, after
        ) from None

    async def query(self, asked: Any) -> Any:
        """Ask it something; give the SDK's query result."""
        job = job_of(
            query_workflow={
                "query_id": "query",
                "query_type": asked.query_type,
                "arguments": asked.query_args.payloads,
                "headers": dict(asked.header.fields),
            }
        )
        jobs = await self.decode([job]) if self._codec.is_active else [job]
        commands, _ = self.activate(self._now(jobs))
        [told] = await self.encode(commands[-1:]) if self._codec.is_active else commands[-1:]
        return told.respond_to_query

    def _now(self, jobs: list[Job]) -> Activation:
        """Make an activation outside of a task: all that it tells, the time too, is as of the last task."""
        if self._last is None:
            task = self._execution.task
            return Activation(task.time_ns, task.history, jobs)
        return self._last._replace(jobs=jobs, commands=())

    def places(self) -> list[str]:
        """Give where its code waits."""
        return places_in(getattr(self._instance, "_tasks", ()))

    def evict(self) -> None:
        """Let it go. Its tasks are cancelled without a trace; that may take some tries, as with Core."""
        if self._instance is None:
            return
        if getattr(self._instance, "_tasks", None) == set():
            self._instance._deleting = (
                True  # no task is left to be cancelled: this is all that the SDK would do
            )
            _disentangle(self._instance)
            return
        job = job_of(remove_from_cache={"message": "evicted"})
        failure = None
        for _ in range(_EVICTION_TRIES):
            try:
                self.activate(self._now([job]))
            except ActivationFailed as error:
                failure = error.args[0]
            except WorkflowTaskStuck as error:
                failure = Failure(message=f"{_SWALLOWED} {error.message}")
                break
            else:
                _disentangle(self._instance)
                return
        workflow_id, told = self._execution.start.workflow_id, failure and failure.message
        _LOG.warning("workflow %s could not be evicted: %s", workflow_id, told)
        self._execution.journal.fact("eviction", "failed", message=told)


def _explained(failure: Failure) -> Failure:
    if failure.application_failure_info.type == Deadlock.__name__ and not failure.message:
        failure.message = _WAITS_FOR_NOBODY
    return failure


def _disentangle(instance: Any) -> None:
    """Let an instance that was let go be freed at once: it refers to itself in many ways.

    What says that it is being deleted stays: futures of it that are freed later ask.
    """
    instance.__dict__ = {name: one for name, one in vars(instance).items() if one.__class__ in _PLAIN}


def _patches(task: list[Activation]) -> list[Job]:
    """Give the patches that a task noted: on replay the workflow is told of them beforehand."""
    commands = [command for done in task for command in done.commands]
    return [
        job_of(notify_has_patch={"patch_id": command.set_patch_marker.patch_id})
        for command in commands
        if command.HasField("set_patch_marker")
    ]


def _without_patches(recorded: Sequence[Any], replayed: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Leave out the patch markers that may differ, as Core does.

    Code that deprecates a patch notes it in a replay as well, whatever its history says; and of a patch that was
    deprecated when it was noted, later code need know nothing.
    """
    known = [_patch_of(one) for one in replayed if one.HasField("set_patch_marker")]
    kept = [
        one
        for one in recorded
        if not one.HasField("set_patch_marker")
        or not (one.set_patch_marker.deprecated or _patch_of(one) in known)
    ]
    return kept, [one for one in replayed if not one.HasField("set_patch_marker")]


def _patch_of(command: Any) -> str:
    return str(command.set_patch_marker.patch_id)


def _without_validator(job: Job) -> Job:
    if not job.HasField("do_update"):
        return job
    copy = Job()
    copy.CopyFrom(job)
    copy.do_update.run_validator = False
    return copy


def _essence(command: Any) -> Any:
    """Give of a command what replay must give again: failures carry stack traces, headers the ids of spans."""
    kind = command.WhichOneof("variant")
    if kind in {"fail_workflow_execution", "update_response"}:
        return kind
    if not getattr(getattr(command, kind), "headers", None):
        return command
    bare = type(command)()
    bare.CopyFrom(command)
    getattr(bare, kind).ClearField("headers")
    return bare


def _identity(command: Any) -> Any:
    """Give of a command what Core compares."""
    kind = command.WhichOneof("variant")
    body = getattr(command, kind)
    return kind, [getattr(body, name) for name in _IDENTITY if name in body.DESCRIPTOR.fields_by_name]


def _details(session: Session, execution: Execution, init: Any) -> WorkflowInstanceDetails:
    captured, start = session.worker.captured, execution.start
    definition = captured.definitions.get(start.workflow_type) or captured.definitions.get(None)
    if definition is None:
        known = ", ".join(sorted(name for name in captured.definitions if name))
        message = f"Workflow class {start.workflow_type} is not registered on this worker, available workflows: {known}"
        raise ActivationFailed(_not_registered(message))
    changes = {
        "defn": definition,
        "info": changed(captured.details.info, _only(_INFO_FIELDS, _info(execution, init))),
        "randomness_seed": execution.seed,
        "last_completion_result": init.last_completion_result,
        "extern_functions": session.worker.extern_functions,
        "patch_activation_callback": session.worker.patch_activation_callback,
        "last_failure": init.continued_failure if init.HasField("continued_failure") else None,
    }
    details: WorkflowInstanceDetails = changed(captured.details, _only(_DETAILS_FIELDS, changes))
    return details


def _only(known: set[str], values: dict[str, Any]) -> dict[str, Any]:
    """Keep what this release of the SDK knows."""
    return {name: value for name, value in values.items() if name in known}


def _info(execution: Execution, init: Any) -> dict[str, Any]:
    start, namespace = execution.start, execution.server.namespace
    owner = None if start.parent is None else start.parent.owner
    root, (untyped, typed) = execution.root, _search_attributes(execution)
    policy = start.retry_policy
    return {
        "attempt": start.attempt,
        "continued_run_id": start.continued_run_id or None,
        "cron_schedule": start.cron_schedule or None,
        "execution_timeout": delta(start.execution_timeout_ns),
        "headers": dict(init.headers),
        "namespace": namespace,
        "parent": owner and temporalio.workflow.ParentInfo(namespace, owner.run_id, owner.start.workflow_id),
        "raw_memo": dict(init.memo.fields),
        "retry_policy": None if policy is None else temporalio.common.RetryPolicy.from_proto(policy),
        "run_id": execution.run_id,
        "run_timeout": delta(start.run_timeout_ns),
        "search_attributes": untyped,
        "typed_search_attributes": typed,
        "start_time": date(execution.first_task_ns),
        "task_queue": start.task_queue,
        "task_timeout": delta(start.task_timeout_ns),
        "workflow_id": start.workflow_id,
        "workflow_type": start.workflow_type,
        "first_execution_run_id": execution.first_run_id,
        "original_execution_run_id": execution.original_run_id,
        "workflow_start_time": date(execution.began_ns),
        "priority": priority_of(start.priority),
        "root": None
        if root is execution
        else temporalio.workflow.RootInfo(workflow_id=root.start.workflow_id, run_id=root.run_id),
    }


def _search_attributes(execution: Execution) -> tuple[Any, Any]:
    """Give those that a run began with, as the SDK decodes them.

    New objects every time: the SDK puts what is upserted into them, in a replay once more.
    """
    if not execution.start.search_attributes:
        return {}, temporalio.common.TypedSearchAttributes([])
    indexed = SearchAttributes(indexed_fields=execution.start.search_attributes)
    converter = temporalio.converter
    return converter.decode_search_attributes(indexed), converter.decode_typed_search_attributes(indexed)


def _not_registered(message: str) -> Any:
    failure = Failure(message=message)
    failure.application_failure_info.type = "NotFoundError"
    return failure
