"""The saga, in its parts.

``_saga`` is the design and what can be asked of it, ``_step`` and ``_laws`` its parts and what they must be to
each other. ``_lives`` starts an instance: the common one, steps in a row, is a ``_plain`` run; any other is a
``_journey`` with a ``_log``. ``_order``, ``_attempts``, ``_locks``, ``_nested`` and ``_patience`` are what a
journey is made of. ``_choreographed`` runs the same design without an orchestrator: each step is a ``_participant``
on a ``_wire``.
"""

from __future__ import annotations

from wfsim.workflows._saga._choreographed import ChoreographedSaga
from wfsim.workflows._saga._context import Context
from wfsim.workflows._saga._locks import LockTable
from wfsim.workflows._saga._saga import Saga
from wfsim.workflows._saga._step import Step

__all__ = ["ChoreographedSaga", "Context", "LockTable", "Saga", "Step"]
