"""Data converters, codecs that wait, external storage, serialization contexts, interceptors, workers of one's own."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
import samples
import temporalio.converter
import wfsim_temporal
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    HeaderCodecBehavior,
    Interceptor,
    OutboundInterceptor,
    WorkflowFailureError,
)
from temporalio.common import RetryPolicy
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultPayloadConverter,
    PayloadCodec,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from temporalio.worker import Interceptor as WorkerInterceptor

import wfsim

SOON = {"start_to_close_timeout": timedelta(seconds=10)}


class Locked(PayloadCodec):
    """Turns the bytes around, after it has asked a key server that takes its time; never twice the same."""

    def __init__(self, seconds=0.25):
        self.seconds = seconds
        self.count = 0

    async def encode(self, payloads):
        await asyncio.sleep(self.seconds)
        self.count += 1
        nonce = str(self.count).encode()
        return [
            Payload(metadata={"encoding": b"locked", "nonce": nonce}, data=one.SerializeToString()[::-1])
            for one in payloads
        ]

    async def decode(self, payloads):
        await asyncio.sleep(self.seconds)
        assert all(one.metadata["encoding"] == b"locked" for one in payloads)
        return [Payload.FromString(one.data[::-1]) for one in payloads]


def converter(codec, **changes):
    return dataclasses.replace(DataConverter.default, payload_codec=codec, **changes)


@activity.defn
async def shout(text: str) -> str:
    if text == "refused":
        raise ApplicationError("refused", {"why": "secret"}, non_retryable=True)
    return text.upper()


@activity.defn
async def from_page() -> str:
    details = activity.info().heartbeat_details
    if details:
        return f"from {details[0]}"
    activity.heartbeat("page 7")
    activity.heartbeat("page 8")
    raise ApplicationError("interrupted")


@workflow.defn
class Talk:
    """Uses payloads in every way that there is."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.run
    async def run(self, text: str) -> list[str]:
        said = await workflow.execute_activity(shout, text, **SOON)
        local = await workflow.execute_local_activity(shout, "local", **SOON)
        page = await workflow.execute_activity(from_page, **SOON)
        try:
            await workflow.execute_activity(shout, "refused", **SOON)
        except Exception as error:
            detail = error.cause.details[0]["why"]
        child = await workflow.execute_child_workflow(samples.Square.run, 3)
        await workflow.wait_condition(lambda: len(self.heard) == 2)
        return [said, local, page, detail, str(child), workflow.memo_value("note"), *self.heard]

    @workflow.signal
    def hear(self, text: str) -> None:
        self.heard.append(text)

    @workflow.update
    def hear_too(self, text: str) -> str:
        self.heard.append(text)
        return text[::-1]

    @workflow.query
    def count(self, more: int) -> int:
        return len(self.heard) + more


SAID = ["HI", "LOCAL", "from page 8", "secret", "9", "a note", "signal", "update"]


async def talk(client):
    handle = await client.start_workflow(Talk.run, "hi", id="t", task_queue="wfsim", memo={"note": "a note"})
    await asyncio.sleep(30)
    await handle.signal(Talk.hear, "signal")
    assert await handle.query(Talk.count, 4) == 5
    assert await handle.execute_update(Talk.hear_too, "update") == "etadpu"
    assert await (await handle.describe()).memo() == {"note": "a note"}
    result = await handle.result()
    assert await handle.query(Talk.count, 4) == 6
    return result


TALK = {"workflows": [Talk, samples.Square], "activities": [shout, from_page]}


@pytest.mark.parametrize("seconds", [0, 0.25])
@pytest.mark.parametrize("replay", [False, True])
def test_a_codec_that_waits(seconds, replay):
    """All payloads pass through it, in virtual time; histories hold what it made of them, and replay."""
    codec = Locked(seconds)
    settings = wfsim_temporal.Settings(replay_every_task=replay)
    run = wfsim_temporal.simulate(
        talk, **TALK, settings=settings, client_options={"data_converter": converter(codec)}
    )
    assert run.result() == SAID
    codec.seconds = 0
    assert run.check_replay() == 2
    text = run.workflow_histories[0].to_json()
    assert "a note" not in text
    assert text.count("bG9ja2Vk") >= 14  # "locked", in base64


def test_no_time_passes_for_a_codec_that_does_not_wait():
    """Who uses none pays for none: the same run takes as long with one that never waits."""
    plain = wfsim_temporal.simulate(talk, **TALK)
    coded = wfsim_temporal.simulate(talk, **TALK, client_options={"data_converter": converter(Locked(0))})
    assert plain.duration == coded.duration
    slow = wfsim_temporal.simulate(talk, **TALK, client_options={"data_converter": converter(Locked(0.25))})
    assert slow.duration > plain.duration + 1


class Slow(Locked):
    async def decode(self, payloads):
        await asyncio.sleep(4)
        return await super().decode(payloads)


def test_crashes_and_evictions_while_a_codec_waits():
    """The worker may die, or lose the task, in the middle of decoding: the next one starts afresh."""
    faults = [
        wfsim_temporal.crash_worker("Talk", task=2),
        wfsim.crash("shout", count=1, restart_after="1s"),
        wfsim.delay("Talk", "9s", on="workflow_task", attempts=4),
        wfsim_temporal.evict("Talk", tasks=range(1, 30)),
    ]
    run = wfsim_temporal.simulate(
        talk, **TALK, faults=faults, client_options={"data_converter": converter(Slow(0.5))}
    )
    assert run.result() == SAID
    assert "WORKFLOW_TASK_TIMED_OUT" in run.events("t")


class Broken(Locked):
    async def decode(self, payloads):
        raise ValueError("no key")


def test_a_codec_that_fails_fails_the_task():
    """The workflow task is tried again, as with the SDK's worker."""

    async def main():
        client = await Client.connect("localhost:7233", data_converter=converter(Locked()))
        other = await Client.connect("localhost:7233", data_converter=converter(Broken()))
        async with Worker(other, task_queue="q", workflows=[samples.Square]):
            await client.execute_workflow(samples.Square.run, 3, id="s", task_queue="q")

    run = wfsim_temporal.simulate(main)
    assert isinstance(run.error, wfsim_temporal.WorkflowTaskStuck)
    assert "no key" in str(run.error)


class Lost(Locked):
    """Knows that the key will not come back."""

    async def decode(self, payloads):
        raise ApplicationError("the key is lost", type="KeyLost", non_retryable=True)


def test_a_codec_may_fail_the_workflow_for_good():
    """By an error that is not to be tried again; the history passes the Replayer with that codec."""

    async def main():
        client = await Client.connect("localhost:7233", data_converter=converter(Locked()))
        other = await Client.connect("localhost:7233", data_converter=converter(Lost()))
        async with Worker(other, task_queue="q", workflows=[samples.Square]):
            with pytest.raises(WorkflowFailureError) as told:
                await client.execute_workflow(samples.Square.run, 3, id="s", task_queue="q")
        cause = told.value.cause
        return cause.message, cause.type, cause.non_retryable

    run = wfsim_temporal.simulate(main)
    assert run.result() == ("the key is lost", "KeyLost", True)
    assert run.events("s")[-1] == "WORKFLOW_EXECUTION_FAILED"


class Contextual(PayloadCodec, WithSerializationContext):
    """Writes down in whose context each payload was encoded, and insists on the same for decoding."""

    def __init__(self, context=None):
        self.context = context

    def with_context(self, context):
        return Contextual(context)

    def name(self):
        match self.context:
            case ActivitySerializationContext(workflow_id=workflow_id):
                return f"activity of {workflow_id}"
            case WorkflowSerializationContext(workflow_id=workflow_id):
                return f"workflow {workflow_id}"
        return "nobody"

    async def encode(self, payloads):
        return [
            Payload(metadata={"encoding": b"for", "whom": self.name().encode()}, data=one.SerializeToString())
            for one in payloads
        ]

    async def decode(self, payloads):
        assert {one.metadata["whom"].decode() for one in payloads} <= {self.name()}, (payloads, self.name())
        return [Payload.FromString(one.data) for one in payloads]


def test_a_codec_knows_whose_payload_it_has(simulate):
    """Activities, children and workflows each have their context, on both sides."""
    run = simulate(talk, **TALK, client_options={"data_converter": converter(Contextual())})
    assert run.result() == SAID


class Signed(DefaultPayloadConverter, WithSerializationContext):
    """A payload converter that signs what it converts with its context."""

    def __init__(self, context=None):
        super().__init__()
        self.context = context

    def with_context(self, context):
        return Signed(context)

    def whom(self):
        kind = type(self.context).__name__.removesuffix("SerializationContext")
        return f"{kind}:{getattr(self.context, 'workflow_id', '')}".encode()

    def to_payloads(self, values):
        payloads = super().to_payloads(values)
        for one in payloads:
            one.metadata["whom"] = self.whom()
        return payloads

    def from_payloads(self, payloads, type_hints=None):
        for one in payloads:
            assert one.metadata["whom"] == self.whom(), (one, self.whom())
        return super().from_payloads(payloads, type_hints)


def test_a_payload_converter_knows_its_context():
    """Also without a codec."""
    options = {"data_converter": dataclasses.replace(DataConverter.default, payload_converter_class=Signed)}
    run = wfsim_temporal.simulate(talk, **TALK, client_options=options)
    assert run.result() == SAID


@pytest.mark.skipif(not hasattr(temporalio.converter, "StorageDriverStoreContext"), reason="too old")
def test_big_payloads_are_kept_elsewhere():
    """External storage is the SDK's own: what is big travels as a reference."""
    kept = {}

    class Drive(temporalio.converter.StorageDriver):
        def name(self):
            return "memory"

        async def store(self, context, payloads):
            await asyncio.sleep(1)
            claims = []
            for one in payloads:
                key = f"k{len(kept)}"
                kept[key] = one.SerializeToString()
                claims.append(temporalio.converter.StorageDriverClaim(claim_data={"key": key}))
            return claims

        async def retrieve(self, context, claims):
            await asyncio.sleep(1)
            return [Payload.FromString(kept[one.claim_data["key"]]) for one in claims]

    storage = temporalio.converter.ExternalStorage(drivers=[Drive()], payload_size_threshold=1000)
    options = {"data_converter": dataclasses.replace(DataConverter.default, external_storage=storage)}

    async def main(client):
        big = "x" * 5000
        handle = await client.start_workflow(
            Talk.run, big, id="t", task_queue="wfsim", memo={"note": "a note"}
        )
        await asyncio.sleep(30)
        await handle.signal(Talk.hear, "signal")
        await handle.signal(Talk.hear, big)
        return await handle.result()

    run = wfsim_temporal.simulate(main, **TALK, client_options=options)
    assert run.result() == ["X" * 5000, *SAID[1:-1], "x" * 5000]
    assert len(kept) >= 5
    assert "x" * 100 not in run.workflow_histories[0].to_json()


@activity.defn
async def repeat(text: str) -> str:
    return text


@pytest.mark.skipif(not hasattr(temporalio.converter, "StorageDriverActivityInfo"), reason="too old")
def test_what_a_standalone_activity_keeps_is_kept_under_its_run():
    """The client does not know the run yet when it stores the arguments; the worker does, as in the SDK's own."""
    targets, kept = [], {}

    class Drive(temporalio.converter.StorageDriver):
        def name(self):
            return "memory"

        async def store(self, context, payloads):
            targets.append(context.target)
            kept.update({str(len(kept)): one.SerializeToString() for one in payloads})
            return [temporalio.converter.StorageDriverClaim(claim_data={"key": str(len(kept) - 1)})]

        async def retrieve(self, context, claims):
            return [Payload.FromString(kept[one.claim_data["key"]]) for one in claims]

    storage = temporalio.converter.ExternalStorage(drivers=[Drive()], payload_size_threshold=1000)
    options = {"data_converter": dataclasses.replace(DataConverter.default, external_storage=storage)}

    async def main(client):
        handle = await client.start_activity(
            repeat,
            "x" * 5000,
            id="a",
            task_queue="wfsim",
            start_to_close_timeout=timedelta(seconds=5),
        )
        return handle.run_id, await handle.result()

    run_id, result = wfsim_temporal.simulate(main, activities=[repeat], client_options=options).result()
    assert result == "x" * 5000
    kind = temporalio.converter.StorageDriverActivityInfo
    assert targets == [kind(id="a", type="repeat", run_id=one, namespace="default") for one in (None, run_id)]


# -- interceptors


class Tracing(Interceptor, WorkerInterceptor):
    """Is of all kinds at once, passes a header along, and notes who was called."""

    def __init__(self, seen):
        self.seen = seen
        self.payload = DefaultPayloadConverter().to_payloads(["me"])[0]

    def intercept_client(self, next):
        seen, payload = self.seen, self.payload

        class Outbound(OutboundInterceptor):
            async def start_workflow(self, input):
                seen.append("client start")
                input.headers = {**input.headers, "who": payload}
                return await super().start_workflow(input)

            async def query_workflow(self, input):
                seen.append("client query")
                return await super().query_workflow(input)

        return Outbound(next)

    def intercept_activity(self, next):
        seen = self.seen

        class Out(ActivityOutboundInterceptor):
            def heartbeat(self, *details):
                seen.append("activity heartbeat")
                super().heartbeat(*details)

            def info(self):
                return dataclasses.replace(super().info(), namespace="intercepted")

        class Inbound(ActivityInboundInterceptor):
            def init(self, outbound):
                super().init(Out(outbound))

            async def execute_activity(self, input):
                seen.append(f"activity {list(input.headers)}")
                return await super().execute_activity(input)

        return Inbound(next)

    def workflow_interceptor_class(self, input):
        return InWorkflow


class OutOfWorkflow(WorkflowOutboundInterceptor):
    def start_activity(self, input):
        input.headers = {**input.headers, **workflow.info().headers}
        return super().start_activity(input)

    def start_local_activity(self, input):
        input.headers = {**input.headers, **workflow.info().headers}
        return super().start_local_activity(input)


class InWorkflow(WorkflowInboundInterceptor):
    def init(self, outbound):
        super().init(OutOfWorkflow(outbound))

    async def execute_workflow(self, input):
        return f"intercepted {await super().execute_workflow(input)}"

    async def handle_query(self, input):
        return await super().handle_query(input) + 100


@activity.defn
async def beat() -> str:
    activity.heartbeat()
    return activity.info().namespace


@workflow.defn
class Intercepted:
    @workflow.run
    async def run(self) -> str:
        first = await workflow.execute_activity(beat, **SOON)
        return first + await workflow.execute_local_activity(beat, **SOON)

    @workflow.query
    def number(self) -> int:
        return 1


@pytest.mark.parametrize("behavior", [HeaderCodecBehavior.NO_CODEC, HeaderCodecBehavior.CODEC])
def test_interceptors_of_all_kinds(behavior):
    """Client, activity and workflow, inbound and outbound; headers pass through the codec if the client says so."""
    seen = []

    async def main(client):
        handle = await client.start_workflow(Intercepted.run, id="i", task_queue="wfsim")
        return await handle.result(), await handle.query(Intercepted.number)

    options = {
        "interceptors": [Tracing(seen)],
        "data_converter": converter(Locked()),
        "header_codec_behavior": behavior,
    }
    run = wfsim_temporal.simulate(main, workflows=[Intercepted], activities=[beat], client_options=options)
    assert run.result() == ("intercepted interceptedintercepted", 101)
    assert seen == [
        "client start",
        *["activity ['who']", "activity heartbeat"] * 2,
        "client query",
    ]


# -- subclasses of Worker


class MyWorker(Worker):
    """Adds an activity, and counts its runs."""

    def __init__(self, client, **options):
        super().__init__(client, **{**options, "activities": [*options.get("activities", ()), shout]})
        self.runs = 0

    async def run(self):
        self.runs += 1
        await super().run()


@workflow.defn
class Shouts:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(
            "shout", "hi", retry_policy=RetryPolicy(maximum_attempts=1), **SOON
        )


def test_a_worker_of_ones_own_class(simulate):
    """It is what its class says, on top of a simulated worker."""

    async def main():
        client = await Client.connect("localhost:7233")
        worker = MyWorker(client, task_queue="q", workflows=[Shouts])
        async with worker:
            result = await client.execute_workflow(Shouts.run, id="s", task_queue="q")
        return result, worker.runs, isinstance(worker, MyWorker), type(worker).__name__

    assert simulate(main).result() == ("HI", 1, True, "MyWorker")


def test_outside_it_is_the_real_class():
    """A simulation leaves no trace in it."""
    with pytest.raises((RuntimeError, TypeError, AttributeError)):
        MyWorker(None, task_queue="q", workflows=[Shouts])
    assert MyWorker.__mro__[1] is Worker


def test_an_error_in_a_result_is_told(simulate):
    """What does not convert is the activity's failure, not the simulation's."""

    @activity.defn(name="shout")
    async def unserializable(text: str) -> object:
        return object()

    run = simulate(Shouts, activities=[unserializable])
    assert isinstance(run.error, WorkflowFailureError)
