"""Requests to start, and to start and update at once, that a real server and the simulated one have to answer alike."""

import asyncio
import uuid

import temporalio.api.errordetails.v1 as details
import temporalio.api.workflowservice.v1 as api
from temporalio import workflow
from temporalio.api.failure.v1 import MultiOperationExecutionAborted
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

QUEUE = "starts"
FAIL, USE, REPLACE = 1, 2, 3  # what to do if the workflow runs
FAILED_ONLY, NEVER = 2, 3  # when its id may be used again; 1 is always
ACCEPTED, COMPLETED = 2, 3


@workflow.defn
class Desk:
    """Is open until it is told to close, or closes at once."""

    def __init__(self) -> None:
        self.closes = False

    @workflow.run
    async def run(self, at_once: bool) -> None:
        await workflow.wait_condition(lambda: self.closes or at_once)

    @workflow.update
    async def stamp(self, waits: bool) -> str:
        await workflow.wait_condition(lambda: self.closes or not waits)
        return "stamped"

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def think(self, _about: bool) -> None:
        await asyncio.Future()

    @workflow.update
    def refuse(self, _what: bool) -> None:
        pass

    @refuse.validator
    def refuse_all(self, _what: bool) -> None:
        raise ValueError("never")

    @workflow.update
    async def fail(self, _what: bool) -> None:
        await asyncio.sleep(0.01)
        raise ApplicationError("it failed")

    @workflow.signal
    def close(self) -> None:
        self.closes = True


# Each goes on where the one before it ends: name of the step, and what is asked.
UPDATES = {
    "a new one": {"on": "a", "id": "1"},
    "the same update": {"on": "a", "id": "1"},
    "the same update, though the workflow may be used": {"on": "a", "id": "1", "conflict": USE},
    "another update, and the workflow runs": {"on": "a", "id": "2"},
    "another update of the one that runs": {"on": "a", "id": "2", "conflict": USE},
    "another in place of the one that runs": {"on": "a", "id": "3", "conflict": REPLACE},
    "the same update is not put in its place": {"on": "a", "id": "3", "conflict": REPLACE},
    "one that waits": {"on": "b", "id": "1", "argument": True, "stage": ACCEPTED},
    "one that waits, again": {"on": "b", "id": "1", "argument": True, "stage": ACCEPTED},
    "one that is refused": {"on": "b", "id": "2", "name": "refuse", "conflict": USE},
    "a new one that is refused": {"on": "c", "id": "2", "name": "refuse"},
    "one that nobody knows": {"on": "c", "id": "3", "name": "unknown", "conflict": USE},
    "one that fails": {"on": "c", "id": "4", "name": "fail", "conflict": USE},
    "no queue": {"on": "d", "id": "1", "queue": ""},
    "no workflow id": {"on": "", "id": "1"},
    "no name": {"on": "d", "id": "1", "name": ""},
    "a first run": {"on": "a", "id": "9", "first": "any", "conflict": USE},
    "the workflow closes": {"on": "e", "id": "1", "closes": True},
    "the same update of a closed one": {"on": "e", "id": "1", "closes": True},
    "the same update, though no other may follow": {"on": "e", "id": "1", "closes": True, "reuse": NEVER},
    "another update of a closed one": {"on": "e", "id": "2", "closes": True, "reuse": NEVER},
    "another after one that went well": {"on": "e", "id": "2", "closes": True, "reuse": FAILED_ONLY},
    "another after it": {"on": "e", "id": "2", "closes": True},
    "the workflow closes too early": {
        "on": "f",
        "id": "1",
        "name": "think",
        "closes": True,
        "stage": ACCEPTED,
    },
    "and the client waits": {"on": "g", "id": "1", "name": "think", "closes": True},
    "one that was not done is done again": {"on": "f", "id": "1", "closes": True},
    "one that was not done, and no other may follow": {"on": "g", "id": "1", "closes": True, "reuse": NEVER},
    "a request": {"on": "h", "id": "1", "request": "r"},
    "the same request with another update": {"on": "h", "id": "2", "request": "r"},
}
STARTS = {
    "a new one": {"on": "a"},
    "the same request": {"on": "a"},
    "another request": {"on": "a", "request": "s"},
    "another that may use it": {"on": "a", "request": "s", "conflict": USE},
    "one that closes": {"on": "b", "closes": True},
    "the same request for a closed one": {"on": "b", "closes": True},
    "another, though none may follow": {"on": "b", "request": "s", "reuse": NEVER},
    "another after one that went well": {"on": "b", "request": "s", "reuse": FAILED_ONLY},
}


def _start(client, prefix, asked):
    made = api.StartWorkflowExecutionRequest(namespace=client.namespace)
    made.workflow_id = asked["on"] and prefix + asked["on"]
    made.workflow_type.name, made.task_queue.name = "Desk", asked.get("queue", QUEUE)
    made.workflow_id_conflict_policy = asked.get("conflict", FAIL)
    made.workflow_id_reuse_policy = asked.get("reuse", 1)
    made.request_id = asked.get("request", "") or str(uuid.uuid4())
    made.input.payloads.extend(_payloads(asked.get("closes", False)))
    return made


def _update(client, prefix, asked):
    made = api.UpdateWorkflowExecutionRequest(namespace=client.namespace)
    made.workflow_execution.workflow_id = asked["on"] and prefix + asked["on"]
    made.first_execution_run_id = asked.get("first", "")
    made.request.meta.update_id, made.request.input.name = asked["id"], asked.get("name", "stamp")
    made.request.input.args.payloads.extend(_payloads(asked.get("argument", False)))
    made.wait_policy.lifecycle_stage = asked.get("stage", COMPLETED)
    return made


def _payloads(value):
    return DataConverter.default.payload_converter.to_payloads([value])


class Names:
    """Calls the runs by the order in which they are met."""

    def __init__(self):
        self.known = {}

    def __call__(self, run_id):
        return self.known.setdefault(run_id, f"run {len(self.known)}") if run_id else ""

    def in_text(self, text):
        for run_id, name in self.known.items():
            text = text.replace(run_id, name)
        return text


def _told_of_start(told, name):
    return [name(told.run_id), told.started, told.status, _link(told.link)]


def _told_of_update(told, name):
    reference = told.update_ref.workflow_execution
    return [name(reference.run_id), told.stage, told.outcome.WhichOneof("value"), _link(told.link)]


def _link(link):
    event = link.workflow_event
    kinds = (event.event_ref.event_type, event.request_id_ref.event_type)
    return [link.WhichOneof("variant"), *kinds, link.workflow.reason]


def _told_of(detail, name):
    already = details.WorkflowExecutionAlreadyStartedFailure()
    if detail.Unpack(already):
        return ["already", name(already.run_id), name(already.first_execution_run_id)]
    return detail.type_url.rpartition(".")[2]


def _error(error, name):
    told = [error.status.name, error.message, [_told_of(one, name) for one in error.grpc_status.details]]
    several = details.MultiOperationExecutionFailure()
    if any(one.Unpack(several) for one in error.grpc_status.details):
        told[2] = [
            [one.code, one.message, [_told_of(each, name) for each in one.details]]
            for one in several.statuses
        ]
        assert MultiOperationExecutionAborted.DESCRIPTOR.name in str(told) or len(several.statuses) == 2
    return [name.in_text(str(told[1])), told[0], [name.in_text(str(one)) for one in told[2]]]


async def play_all(client):
    """Take all steps; what was answered by kind and step."""
    answers, service, names = {}, client.workflow_service, Names()
    for step, asked in UPDATES.items():
        request = api.ExecuteMultiOperationRequest(namespace=client.namespace)
        request.operations.add(start_workflow=_start(client, "u-", asked))
        request.operations.add(update_workflow=_update(client, "u-", asked))
        try:
            first, second = (await service.execute_multi_operation(request)).responses
        except RPCError as error:
            answers["update: " + step] = _error(error, names)
        else:
            told = [
                _told_of_start(first.start_workflow, names),
                _told_of_update(second.update_workflow, names),
            ]
            answers["update: " + step] = told
    for step, asked in STARTS.items():
        try:
            told = await service.start_workflow_execution(_start(client, "s-", {"request": "r", **asked}))
        except RPCError as error:
            answers["start: " + step] = _error(error, names)
        else:
            answers["start: " + step] = _told_of_start(told, names)
        await asyncio.sleep(0.3)
    answers |= await _play_plain_updates(client)
    for one in [*(f"u-{name}" for name in "abcdefgh"), "s-a", "s-b"]:
        try:
            await client.get_workflow_handle(one).terminate()
        except RPCError:
            continue
    return answers


async def _play_plain_updates(client):
    """Updates of a run that closes: what came of them can still be asked for."""
    answers, handle = {}, client.get_workflow_handle("s-a")
    answers["plain: done"] = await handle.execute_update("stamp", False, id="1")
    answers["plain: done before"] = await handle.execute_update("stamp", False, id="1")
    await handle.signal("close")
    await handle.result()
    answers["plain: done before, and closed"] = await handle.execute_update("stamp", False, id="1")
    try:
        await handle.execute_update("stamp", False, id="2")
    except RPCError as error:
        answers["plain: another, and closed"] = [error.status.name, error.message]
    return answers
