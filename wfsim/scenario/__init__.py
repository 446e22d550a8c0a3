"""Scenario files: an experiment written down as YAML (or JSON), with no Python, or naming some.

``load`` reads a file and returns an ``Experiment`` of the harness. A wrong file raises ``ScenarioErrors``,
which lists every problem with its line, column, field, what is allowed and what was probably meant.
``load_text`` does the same for text. ``fault_to_data`` writes a fault rule as a scenario file has it, so that
a found set of faults can be saved again; ``fault_from_data`` reads it.
"""

from __future__ import annotations

from wfsim.scenario._faults import fault_from_data, fault_to_data
from wfsim.scenario._load import load, load_text
from wfsim.scenario._problems import ScenarioErrors

__all__ = ["ScenarioErrors", "fault_from_data", "fault_to_data", "load", "load_text"]
