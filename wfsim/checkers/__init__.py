"""Checkers: each reads a History, and nothing else, and gives a Verdict.

``valid`` is True if the run kept the promise, False if it broke it, and "unknown" if the history holds
nothing to judge it by: a promise that was never put to the test is not kept.
"""

from __future__ import annotations

from wfsim.checkers._completed import completed
from wfsim.checkers._dag import (
    dependencies_respected,
    every_task_decided,
    failures_surface,
    no_cycle,
    no_task_repeated,
    parallelism_respected,
    priority_respected,
    skipped_as_ruled,
    torn_down,
)
from wfsim.checkers._effects import effect_at_most_once
from wfsim.checkers._effects_isolation import locks_respected, no_lost_update
from wfsim.checkers._effects_ledger import nothing_left_behind, reversed_in_order
from wfsim.checkers._events_lost import converges, no_dead_letters, no_event_lost, subscribed_before_published
from wfsim.checkers._events_once import handled_once, no_effect_twice, order_per_key, state_and_events_agree
from wfsim.checkers._retry import retried_as_policy
from wfsim.checkers._saga import (
    compensated_exactly_once,
    compensated_in_reverse,
    no_forward_after_compensation,
    pivot_respected,
)
from wfsim.checkers._statemachine import (
    action_exactly_once,
    ends_in,
    never_in,
    no_event_dropped,
    reaches_final,
    stays_at_most,
    transitions_legal,
)
from wfsim.checkers._verdict import Verdict

__all__ = [
    "Verdict",
    "action_exactly_once",
    "compensated_exactly_once",
    "compensated_in_reverse",
    "completed",
    "converges",
    "dependencies_respected",
    "effect_at_most_once",
    "ends_in",
    "every_task_decided",
    "failures_surface",
    "handled_once",
    "locks_respected",
    "never_in",
    "no_cycle",
    "no_dead_letters",
    "no_effect_twice",
    "no_event_dropped",
    "no_event_lost",
    "no_forward_after_compensation",
    "no_lost_update",
    "no_task_repeated",
    "nothing_left_behind",
    "order_per_key",
    "parallelism_respected",
    "pivot_respected",
    "priority_respected",
    "reaches_final",
    "retried_as_policy",
    "reversed_in_order",
    "skipped_as_ruled",
    "state_and_events_agree",
    "stays_at_most",
    "subscribed_before_published",
    "torn_down",
    "transitions_legal",
]
