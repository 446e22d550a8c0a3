"""What stands in for asyncio's own loops while CPython's tests run."""

from __future__ import annotations

import asyncio
import unittest
from asyncio import base_events

from wfsim.kernel import _patched_asyncio  # noqa: F401
from wfsim.kernel._loop import Policy, VirtualLoop
from wfsim.kernel._simulation import Simulation
from wfsim.kernel._tasks import Future, Task
from wfsim.kernel import _ambient


def count_loops():
    """How many virtual loops are made, and which tests make loops of another class."""
    virtual, stock = [0], set()
    init = base_events.BaseEventLoop.__init__

    def counted(self):
        if isinstance(self, VirtualLoop):
            virtual[0] += 1
        else:
            stock.add(type(self).__qualname__)
        init(self)

    base_events.BaseEventLoop.__init__ = counted
    return virtual, stock


def install(where):
    if where == "bare":
        _use(VirtualLoop)
    else:
        raise NotImplementedError


def _use(loop_class):
    class VirtualPolicy(Policy):
        def __init__(self):
            super().__init__(loop_class)

    asyncio.DefaultEventLoopPolicy = VirtualPolicy  # `set_event_loop_policy(None)` makes one of these
    asyncio.BaseEventLoop = base_events.BaseEventLoop = loop_class
    asyncio.SelectorEventLoop = asyncio.EventLoop = loop_class
    asyncio.set_event_loop_policy(None)
    from test.test_asyncio import utils

    utils.TestLoop = _test_loop_class(loop_class)


def _test_loop_class(loop_class):
    class TestLoop(loop_class):
        """CPython's loop for tests: it tells a generator of the timers, which says how far its clock may go."""

        def __init__(self, generator=None):
            super().__init__()
            self._check_on_close = generator is not None
            self._generator = (generator or _one_yield)()
            next(self._generator)

        def advance_time(self, advance):
            self.environment._now += round(advance * 1e9)

        def close(self):
            super().close()
            if self._check_on_close:
                try:
                    self._generator.send(0)
                except StopIteration:
                    pass
                else:
                    raise AssertionError("Time generator is not finished")

        def call_at(self, when, callback, *args, context=None):
            self._generator.send(when)
            return super().call_at(when, callback, *args, context=context)

        def call_later(self, delay, callback, *args, context=None):
            self._generator.send(self.time() + delay)
            return super().call_later(delay, callback, *args, context=context)

    return TestLoop


def _one_yield():
    yield


def adapt(module):
    pass
