"""The nemesis: it injects faults at fault points, by rules.

One file for each kind of fault. A fault and a rule are data: ``rule.describe()`` is plain, ``Rule.from_dict``
makes the rule again. ``fail``, ``delay``, ``hang``, ``lose_reply`` and ``crash`` are the short way to write a
rule; so are ``lose_event``, ``duplicate``, ``reorder``, ``corrupt`` and ``partition`` for events.
"""

from __future__ import annotations

from wfsim.nemesis._crash import Crash, crash
from wfsim.nemesis._delay import Delay, delay
from wfsim.nemesis._events import (
    Corrupt,
    Duplicate,
    LoseEvent,
    Partition,
    Reorder,
    corrupt,
    duplicate,
    lose_event,
    partition,
    reorder,
)
from wfsim.nemesis._fail import Fail, fail
from wfsim.nemesis._hang import Hang, hang
from wfsim.nemesis._lose import LoseReply, lose_reply
from wfsim.nemesis._rule import Rule, fault_from_dict
from wfsim.nemesis._rules import Rules

__all__ = [
    "Corrupt",
    "Crash",
    "Delay",
    "Duplicate",
    "Fail",
    "Hang",
    "LoseEvent",
    "LoseReply",
    "Partition",
    "Reorder",
    "Rule",
    "Rules",
    "corrupt",
    "crash",
    "delay",
    "duplicate",
    "fail",
    "fault_from_dict",
    "hang",
    "lose_event",
    "lose_reply",
    "partition",
    "reorder",
]
