"""Scenario files: an experiment written down as YAML (or JSON), with no Python, or naming some.

A file has a ``design`` and, as far as they are wanted, these sections::

    name: payment outage                # else the file's name
    description: what is to be seen
    design:                             # or "designs.py:checkout", or factory: ... with with: {...}
      saga: checkout                    # or dag: ... with tasks: [{name, depends_on, ...}], or machine: ...
                                        # with states: [...] and transitions: [{source, target, trigger, ...}]
      steps:
        - name: charge
          latency: 20ms..60ms           # or 1s, or {exponential: 1s}, {lognormal: {median, sigma}}, ...
          failure_probability: 0.01     # with error: ConnectionError
          effect: card charged          # what changes in the world; else the step's name, null for nothing
          idempotent: true              # the same input again has no second effect
          timeout: 2s                   # of each try
          retry: {attempts: 3}          # the options of wfsim.Retry
          compensate: card refunded     # the effect, or a mapping with latency, retry ... of its own
          compensate_unknown: true      # also after a timeout or a lost reply
    workload: {instances: 100, arrivals: {exponential: 1s}, input: "order-{i}"}
                                        # and for a state machine events: [pay, {trigger: cancel, at: 2s}]
    faults:                             # fail, delay, hang, lose_reply, crash, or a plugin's
      - fail: {error: ConnectionError, message: down}
        at: {step: charge, attempt: 1..3, on: forward, point: call, process: checkout-7, design: checkout,
             after: 10s, before: 1m, probability: 0.5, count: 3}
    expect:                             # a list alone is what must hold
      holds: [compensated_in_reverse, success_rate: 0.9]
      breaks: [effect_at_most_once: card charged]
    seeds: 10                           # or [1, 2, 3]
    bounds: {time: 1h, steps: 1000000, stalled_steps: 100000, operations: 100000}
    start: 2030-01-01
    heal_after: 10m                     # when the faults stop at the latest
    settle: 10s                         # what tasks left behind get, to end

``load`` reads a file and returns an ``Experiment`` of the harness. A wrong file raises ``ScenarioErrors``,
which lists every problem with its line, column, field, what is allowed and what was probably meant.
``load_text`` does the same for text; ``look_over`` also tells what is legal and most likely a mistake.
``fault_to_data`` writes a fault rule as a scenario file has it, so that a found set of faults can be saved
again; ``fault_from_data`` reads it.
"""

from __future__ import annotations

from wfsim.scenario._faults import fault_from_data, fault_to_data
from wfsim.scenario._load import load, load_text, look_over
from wfsim.scenario._problems import ScenarioErrors

__all__ = ["ScenarioErrors", "fault_from_data", "fault_to_data", "load", "load_text", "look_over"]
