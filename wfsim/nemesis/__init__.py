"""The nemesis: it injects faults at fault points, by rules.

One file for each kind of fault. A fault and a rule are data: ``rule.describe()`` is plain, ``Rule.from_dict``
makes the rule again. ``fail``, ``delay``, ``hang``, ``lose_reply`` and ``crash`` are the short way to write a
rule.
"""

from __future__ import annotations

from wfsim.nemesis._crash import Crash, crash
from wfsim.nemesis._delay import Delay, delay
from wfsim.nemesis._fail import Fail, fail
from wfsim.nemesis._hang import Hang, hang
from wfsim.nemesis._lose import LoseReply, lose_reply
from wfsim.nemesis._rule import Rule, fault_from_dict
from wfsim.nemesis._rules import Rules

__all__ = [
    "Crash",
    "Delay",
    "Fail",
    "Hang",
    "LoseReply",
    "Rule",
    "Rules",
    "crash",
    "delay",
    "fail",
    "fault_from_dict",
    "hang",
    "lose_reply",
]
