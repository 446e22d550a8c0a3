"""Reports: what a person reads of a history or a result.

``timeline`` writes a history as plain text; ``Paper`` is a stream that knows its width, colours and letters,
and the ``print_`` functions put a result's parts on it; ``as_data`` gives the same result to machines. A
report only reads: it runs nothing and judges nothing.
"""

from __future__ import annotations

from wfsim.report._data import as_data
from wfsim.report._paper import Paper
from wfsim.report._summary import (
    faults_of,
    print_expectations,
    print_heading,
    print_replays,
    print_runs,
    print_telling,
    print_totals,
    print_verdict,
    replay_command,
    telling,
)
from wfsim.report._timeline import LINES, missed, print_run, print_timeline, timeline

__all__ = [
    "LINES",
    "Paper",
    "as_data",
    "faults_of",
    "missed",
    "print_expectations",
    "print_heading",
    "print_replays",
    "print_run",
    "print_runs",
    "print_telling",
    "print_timeline",
    "print_totals",
    "print_verdict",
    "replay_command",
    "telling",
    "timeline",
]
