"""wfsim: break your workflow before production does.

The front door. Each name below is imported from its room when it is first used, so that
``import wfsim`` (which every pytest session pays for) costs well under a millisecond.

``simulate`` runs any coroutine function or design in virtual time and returns a ``Run``;
``Saga``, ``DAGWorkflow``, ``Task``, ``StateMachine`` and ``Retry`` are designs and policies that run in
production too; ``fail``, ``delay``, ``hang``, ``lose_reply`` and ``crash`` are faults to hand
to ``simulate``; ``checkers`` judge the run's ``History``.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs ten times as much as this whole file; type checkers know the name
if TYPE_CHECKING:
    from typing import Any

    from wfsim import checkers
    from wfsim.errors import WfsimError
    from wfsim.harness import Experiment, Run, check_determinism, simulate
    from wfsim.history import History, Op
    from wfsim.kernel import effect, fault_point, now, sleep, start_process
    from wfsim.nemesis import crash, delay, fail, hang, lose_reply
    from wfsim.resilience import Retry
    from wfsim.workflows import DAGWorkflow, Saga, StateMachine, Task

__version__ = "0.1.0"

_ROOMS = {
    "checkers": ("checkers",),
    "errors": ("WfsimError",),
    "harness": ("Experiment", "Run", "check_determinism", "simulate"),
    "history": ("History", "Op"),
    "kernel": ("effect", "fault_point", "now", "sleep", "start_process"),
    "nemesis": ("crash", "delay", "fail", "hang", "lose_reply"),
    "resilience": ("Retry",),
    "workflows": ("DAGWorkflow", "Saga", "StateMachine", "Task"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "DAGWorkflow",
    "Experiment",
    "History",
    "Op",
    "Retry",
    "Run",
    "Saga",
    "StateMachine",
    "Task",
    "WfsimError",
    "__version__",
    "check_determinism",
    "checkers",
    "crash",
    "delay",
    "effect",
    "fail",
    "fault_point",
    "hang",
    "lose_reply",
    "now",
    "simulate",
    "sleep",
    "start_process",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its room the first time it is asked for (PEP 562)."""
    from importlib import import_module

    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'wfsim' has no attribute {name!r}")
    module = import_module(f"wfsim.{room}")
    value = module if name == room else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, also those that no one has used yet."""
    return sorted({*globals(), *__all__})
