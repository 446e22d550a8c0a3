"""The history: one ordered, typed, append-only list of everything that happened in a run.

It is the narrow waist of the house, an idea of Jepsen's: a run writes it through a :class:`Recorder`;
checkers, reports and metrics read the :class:`History`; nothing else crosses. So whatever they say can be
said again, later, from the file.
"""

from __future__ import annotations

from wfsim.history._history import History
from wfsim.history._op import WIDTH, Op, OpType, Span
from wfsim.history._plain import Plain, describe_error, plain_data
from wfsim.history._recorder import Recorder

__all__ = ["WIDTH", "History", "Op", "OpType", "Plain", "Recorder", "Span", "describe_error", "plain_data"]
