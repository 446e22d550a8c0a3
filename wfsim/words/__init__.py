"""Testing words: a test as one sentence, *given* what happened, *when* something comes, *then* what is expected.

::

    given(checkout).under(fail("ship")).when("order-1").then_compensated("charge", "reserve")
    given(checkout).when("order-1").at_every_failure_point().then_nothing_left_behind()

A sentence is played in virtual time; what is expected is judged on the history. It speaks of sagas, of services on
an event bus, of process managers that are state machines, and of any coroutine function.
"""

from __future__ import annotations

from wfsim.words._calls import Call, Called, called
from wfsim.words._failure import ExpectationFailed, Notes
from wfsim.words._given import Given, given
from wfsim.words._outcome import Outcome

__all__ = ["Call", "Called", "ExpectationFailed", "Given", "Notes", "Outcome", "called", "given"]
