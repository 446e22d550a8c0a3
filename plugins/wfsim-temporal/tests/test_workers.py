"""What workers take: eager starts, slots of every kind."""

from datetime import timedelta

import samples


def test_an_eager_start_reaches_the_worker_with_the_answer(simulate):
    """If a worker of the same client has room for it; the history says so."""

    async def main(client):
        async def start(id, **options):
            options = {"request_eager_start": True, **options}
            handle = await client.start_workflow(samples.Square.run, 0, id=id, **options)
            [begun, *_] = (await handle.fetch_history()).events
            accepted = begun.workflow_execution_started_event_attributes.eager_execution_accepted
            return getattr(handle, "__temporal_eagerly_started", False), accepted

        told = [
            await start("here", task_queue="wfsim"),
            await start("elsewhere", task_queue="nobody"),
            await start("late", task_queue="wfsim", start_delay=timedelta(seconds=5)),
            await start("plain", task_queue="wfsim", request_eager_start=False),
        ]
        assert await client.get_workflow_handle("here").result() == 0
        assert await client.get_workflow_handle("late").result() == 0
        return told

    run = simulate(main, workflows=[samples.Square])
    assert run.result() == [(True, True), (False, False), (False, False), (False, False)]
    assert run.events("here")[:3] == [
        "WORKFLOW_EXECUTION_STARTED",
        "WORKFLOW_TASK_SCHEDULED",
        "WORKFLOW_TASK_STARTED",
    ]
