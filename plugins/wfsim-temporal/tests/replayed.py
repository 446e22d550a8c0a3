"""Every history that a test writes passes Temporal's own Replayer, whatever wrote it and however the test went.

It watches the simulated servers, and so finds the histories of fixtures, scenario files, marked tests and whole
programs too. pytest loads it here, and in the sessions that tests start (``PYTEST_PLUGINS``).
"""

import functools

import pytest
from wfsim_temporal import NonDeterministicWorkflow, check_replay
from wfsim_temporal.server._server import Server
from wfsim_temporal.simulation._simulate import _replay_options, classes_for

servers = []
judged = 0


def pytest_configure():
    make = Server.__init__
    if hasattr(make, "__wrapped__"):
        return

    @functools.wraps(make)
    def watched(self, *args, **options):
        make(self, *args, **options)
        servers.append(self)

    Server.__init__ = watched


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"{judged} histories passed the Replayer")


@pytest.fixture(autouse=True)
def every_history_replays():
    yield
    judge_all()


def judge_all():
    """Judge what has been written so far; a test asks for it if its own surroundings are needed."""
    while servers:
        judge(servers.pop())


def judge(server):
    global judged  # noqa: PLW0603
    by_classes = {}
    for one in server.executions.values():
        if is_sound(one) and one.task.count:
            by_classes.setdefault(classes_for(server, one), []).append(one.workflow_history())
    for classes, histories in by_classes.items():
        judged += check_replay(histories, classes, **_replay_options(server.workers))


def is_sound(execution):
    """A workflow that is not deterministic is found out by wfsim, and no Replayer can like its history."""
    closed = execution.closed
    return not (closed.done() and isinstance(closed.exception(), NonDeterministicWorkflow))
