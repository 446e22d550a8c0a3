"""The state machines of the document that the project was created from run as written."""

from __future__ import annotations

import pytest

FSM = """
from wfsim import StateMachine

# Define FSM
fsm = StateMachine(initial="idle")
fsm.add_transition("idle", "running", guard=lambda: can_start())
fsm.add_transition("running", "completed", action=lambda: cleanup())
fsm.add_transition("running", "failed", action=lambda: rollback())
fsm.trigger("start")
"""

PIPELINE = """
from wfsim import StateMachine

# Deployment pipeline
pipeline = StateMachine(initial="pending")
pipeline.add_transition("pending", "building")
pipeline.add_transition("building", "testing")
pipeline.add_transition("testing", "staging")
pipeline.add_transition("staging", "production")
pipeline.add_transition("*", "rollback", action=rollback_deployment)
"""


class User(dict):
    """The user's functions, plain or as coroutine functions; each writes its name down."""

    def __init__(self, coroutines, **results):
        super().__init__()
        self.log = []
        for name, result in results.items():
            self[name] = self.coroutine(name, result) if coroutines else self.plain(name, result)

    def plain(self, name, result):
        def function():
            self.log.append(name)
            return result

        return function

    def coroutine(self, name, result):
        async def function():
            self.log.append(name)
            return result

        return function


both = pytest.mark.parametrize("coroutines", [False, True])


@both
def test_state_machine_reference_card(coroutines):
    """Started at module level, it asks the guard and runs; then each end is reached by its name."""
    for end, called in (("completed", "cleanup"), ("failed", "rollback")):
        user = User(coroutines, can_start=True, cleanup=None, rollback=None)
        exec(FSM, user)
        assert user["fsm"].state == "running"
        assert user["fsm"].trigger(end) is True
        assert user["fsm"].state == end
        assert user.log == ["can_start", called]


@both
def test_state_machine_reference_card_when_it_cannot_start(coroutines):
    """The guard says no: it stays idle."""
    user = User(coroutines, can_start=False)
    exec(FSM, user)
    assert user["fsm"].state == "idle"
    assert user.log == ["can_start"]


@both
def test_deployment_pipeline(coroutines):
    """Each stage by its name, none left out; from any of them back, once."""
    user = User(coroutines, rollback_deployment=None)
    exec(PIPELINE, user)
    pipeline = user["pipeline"]
    assert pipeline.trigger("testing") is False
    for stage in ("building", "testing", "staging", "production"):
        assert pipeline.trigger(stage) is True
        assert pipeline.state == stage
    assert pipeline.trigger("rollback") is True
    assert pipeline.trigger("rollback") is False
    assert pipeline.state == "rollback"
    assert user.log == ["rollback_deployment"]


def test_deployment_pipeline_stage_by_stage():
    """Any event that is no state's name takes it on to the next stage."""
    user = User(False, rollback_deployment=None)
    exec(PIPELINE, user)
    for _ in range(10):
        user["pipeline"].trigger("next")
    assert user["pipeline"].state == "production"
