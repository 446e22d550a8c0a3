"""Converters and interceptors that come with the SDK: pydantic and OpenTelemetry. Each needs its package."""

import uuid
from datetime import timedelta

import pytest
import wfsim_temporal
from replayed import judge_all
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

import wfsim

SOON = {"start_to_close_timeout": timedelta(seconds=30)}


# -- pydantic

pydantic = pytest.importorskip("pydantic")


class Order(pydantic.BaseModel):
    id: uuid.UUID
    amounts: dict[str, float]


@activity.defn
async def total(order: Order) -> Order:
    return Order(id=order.id, amounts={"total": sum(order.amounts.values())})


@workflow.defn
class Totals:
    @workflow.run
    async def run(self, order: Order) -> Order:
        return await workflow.execute_activity(total, order, **SOON)


def test_pydantic_models(simulate):
    """Models are arguments and results, through the SDK's own converter."""
    from temporalio.contrib.pydantic import pydantic_data_converter

    order = Order(id=uuid.UUID(int=7), amounts={"a": 1.5, "b": 2})

    async def main():
        client = await Client.connect("localhost:7233", data_converter=pydantic_data_converter)
        async with Worker(client, task_queue="q", workflows=[Totals], activities=[total]):
            return await client.execute_workflow(Totals.run, order, id="t", task_queue="q")

    assert simulate(main).result() == Order(id=uuid.UUID(int=7), amounts={"total": 3.5})


# -- OpenTelemetry


@activity.defn
async def greet(name: str) -> str:
    return f"Hello, {name}"


@workflow.defn
class Greets:
    def __init__(self) -> None:
        self.name = ""

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: bool(self.name))
        return await workflow.execute_activity(greet, self.name, **SOON)

    @workflow.signal
    def is_called(self, name: str) -> None:
        self.name = name


async def greeting(options):
    client = await Client.connect("localhost:7233", **options)
    async with Worker(client, task_queue="q", workflows=[Greets], activities=[greet]):
        handle = await client.start_workflow(Greets.run, id="g", task_queue="q")
        await handle.signal(Greets.is_called, "Ada")
        return await handle.result()


@pytest.fixture
def spans():
    """A tracer, and what gives the spans that have ended."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter.get_finished_spans


def names(spans):
    return [one.name for one in spans]


def test_opentelemetry_interceptor(spans):
    """Client, workflow and activity are spans of one trace; a signal is one of its own; a retry is a span more."""
    from temporalio.contrib.opentelemetry import TracingInterceptor

    tracer, finished = spans
    faults = [wfsim.fail("greet", attempts=1)]
    run = wfsim_temporal.simulate(greeting, {"interceptors": [TracingInterceptor(tracer)]}, faults=faults)
    assert run.result() == "Hello, Ada"
    assert sorted(names(finished())) == [
        "CompleteWorkflow:Greets",
        "HandleSignal:is_called",
        "RunActivity:greet",
        "RunWorkflow:Greets",
        "SignalWorkflow:is_called",
        "StartActivity:greet",
        "StartWorkflow:Greets",
    ]
    traces = {one.name.split(":")[0]: one.context.trace_id for one in finished()}
    assert traces["RunActivity"] == traces["StartWorkflow"]
    assert traces["HandleSignal"] in {traces["SignalWorkflow"], traces["StartWorkflow"]}


def test_replay_adds_no_spans(spans):
    """A workflow that is replayed at every task has the spans of one that is not."""
    from temporalio.contrib.opentelemetry import TracingInterceptor

    tracer, finished = spans
    options = {"interceptors": [TracingInterceptor(tracer)]}
    plain = wfsim_temporal.simulate(greeting, options)
    before = names(finished())
    again = wfsim_temporal.simulate(
        greeting, options, settings=wfsim_temporal.Settings(replay_every_task=True)
    )
    assert plain.result() == again.result()
    assert names(finished()) == before * 2


@workflow.defn
class Traced:
    """Makes a span of its own, around an activity."""

    @workflow.run
    async def run(self) -> str:
        import opentelemetry.trace

        with opentelemetry.trace.get_tracer("mine").start_as_current_span("greeting"):
            return await workflow.execute_activity(greet, "Ada", **SOON)


def test_opentelemetry_plugin(monkeypatch):
    """The plugin lets a workflow make spans that last, and are made once."""
    pytest.importorskip("opentelemetry.sdk")
    import opentelemetry.trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider

    exporter, provider = InMemorySpanExporter(), create_tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)

    async def main():
        client = await Client.connect(
            "localhost:7233", plugins=[OpenTelemetryPlugin(add_temporal_spans=True)]
        )
        async with Worker(client, task_queue="q", workflows=[Traced], activities=[greet]):
            return await client.execute_workflow(Traced.run, id="g", task_queue="q")

    run = wfsim_temporal.simulate(main, settings=wfsim_temporal.Settings(replay_every_task=True))
    assert run.result() == "Hello, Ada"
    found = {one.name: one for one in exporter.get_finished_spans()}
    assert len(found) == len(exporter.get_finished_spans())
    assert {"StartWorkflow:Traced", "RunWorkflow:Traced", "greeting", "RunActivity:greet"} <= set(found)
    assert len({one.context.trace_id for one in found.values()}) == 1
    judge_all()  # while the provider is there
