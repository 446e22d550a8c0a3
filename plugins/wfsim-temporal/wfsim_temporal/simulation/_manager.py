"""What ``multiprocessing.Manager`` gives in a simulation, where workers with a pool of processes ask for one."""

from __future__ import annotations

import multiprocessing
import queue
import threading
from typing import TYPE_CHECKING, Any, Self

from wfsim.kernel import current

if TYPE_CHECKING:
    from collections.abc import Callable


class LocalManager:
    """Makes what a real manager would share with other processes; here all is in one, and simulated."""

    Queue: Any = staticmethod(queue.Queue)
    Event: Any = staticmethod(threading.Event)
    Lock: Any = staticmethod(threading.Lock)
    dict: Any = staticmethod(dict)
    list: Any = staticmethod(list)

    def shutdown(self) -> None:
        """Do nothing: there is no process to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()


def simulated_manager() -> Callable[[], None]:
    """Let managers that are made in a simulation be local ones; give what ends that."""
    module: Any = multiprocessing
    real = module.Manager
    module.Manager = lambda: real() if current() is None else LocalManager()

    def put_back() -> None:
        module.Manager = real

    return put_back
