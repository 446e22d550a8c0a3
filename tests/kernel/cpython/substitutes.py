"""What stands in for asyncio's own loops, tasks and futures while CPython's tests run."""

from __future__ import annotations

import asyncio
import time
import unittest
from asyncio import base_events
from itertools import count

from wfsim.kernel import Simulation, VirtualLoop, current
from wfsim.kernel._loop import Policy
from wfsim.kernel._tasks import Future, Task


def install(where):
    """Make virtual loops the only ones to be had; "simulation": each test runs in a simulation of its own."""
    loop_class = VirtualLoop
    if where == "simulation":
        loop_class = _SimulatedLoop
        unittest.TestCase.__call__ = _simulated(unittest.TestCase.__call__)
    asyncio.BaseEventLoop = asyncio.SelectorEventLoop = asyncio.EventLoop = loop_class
    # `set_event_loop_policy(None)`, which most modules do after each test, makes one of these.
    make = {"__init__": lambda self: Policy.__init__(self, loop_class)}
    asyncio.DefaultEventLoopPolicy = type("Policy", (Policy,), make)
    asyncio.set_event_loop_policy(None)
    from test.test_asyncio import utils

    utils.TestLoop = _TestLoop if where == "bare" else _simulated_test_loop


def count_loops():
    """Count virtual loops, and collect the names of the classes of others, from now on."""
    virtual, stock = count(), set()
    init = base_events.BaseEventLoop.__init__

    def counted(self):
        init(self)
        if isinstance(self, VirtualLoop):
            next(virtual)
        else:
            stock.add(type(self).__qualname__)

    base_events.BaseEventLoop.__init__ = counted
    return virtual, stock


def adapt(module):
    """Add what the module's tests are to be run with too."""
    if adapter := _ADAPTERS.get(module.__name__.rpartition(".")[2]):
        adapter(module)


# -- loops


class _LoopsOfTheSimulation(type):
    def __call__(cls):
        return current().new_loop() if cls is _SimulatedLoop else super().__call__()

    def __instancecheck__(cls, instance):
        return isinstance(instance, VirtualLoop)


class _SimulatedLoop(VirtualLoop, metaclass=_LoopsOfTheSimulation):
    """Called as asyncio's classes of loops are, it asks the simulation that runs for another loop."""

    def __init__(self):
        super().__init__(current().environment, current())
        current().loops.append(self)


class _TestLoop(VirtualLoop):
    """CPython's loop for tests on a clock that needs nobody to move it.

    The generator that a test gives still hears of every timer and checks its instant; what it says about moving the
    clock is ignored.
    """

    def __init__(self, generator=None):
        super().__init__()
        self._generator = None if generator is None else generator()
        self._check_timer(None)

    def advance_time(self, seconds):
        """Block for that long."""
        done = []
        environment = self.environment
        environment.call_at(environment.now_ns + round(seconds * 1e9), done.append, True)
        environment.run_blocked(lambda: done)

    def close(self):
        super().close()
        if self._generator is not None and next(self._generator, self) is not self:
            raise AssertionError("the test's generator expects more timers")

    def call_at(self, when, callback, *args, context=None):
        self._check_timer(when)
        return super().call_at(when, callback, *args, context=context)

    def call_later(self, delay, callback, *args, context=None):
        self._check_timer(self.time() + delay)
        return super().call_later(delay, callback, *args, context=context)

    def _check_timer(self, when):
        if self._generator is not None:
            try:
                self._generator.send(when)
            except StopIteration:
                raise AssertionError("the test's generator expects no more timers") from None


def _simulated_test_loop(_generator=None):
    """A simulation's loop has no timers that one could list: its own sleep sets none."""
    loop = current().new_loop()
    loop.advance_time = lambda seconds: time.sleep(seconds)
    return loop


# -- tests in a simulation


def _simulated(call):
    def simulated(test, result):
        if current() is not None:  # a test that runs tests
            return call(test, result)
        try:
            error = Simulation().run(call, test, result).error
        except KeyboardInterrupt as interrupt:
            error = interrupt
        if error is not None:
            # Not the test's error, which its result has: that of a simulation that could not go on.
            result.addError(test, (type(error), error, error.__traceback__))
        return None

    return simulated


# -- what the tests are run with too


def _add(module, name, *bases, **attributes):
    made = type(name, (*bases, unittest.TestCase), {"__module__": module.__name__, **attributes})
    setattr(module, name, made)


def _adapt_tasks(module):
    _add(
        module,
        "VirtualTaskTests",
        module.BaseTaskTests,
        module.SetMethodsTest,
        module.test_utils.TestCase,
        Task=Task,
        Future=Future,
        all_tasks=staticmethod(asyncio.all_tasks),
    )


def _adapt_eager_task_factory(module):
    case = module.test_utils.TestCase
    _add(module, "VirtualEagerTaskFactoryLoopTests", module.EagerTaskFactoryLoopTests, case, Task=Task)
    _add(module, "VirtualNonEagerTests", module.BaseNonEagerTaskFactoryTests, case, Task=Task)
    _add(module, "VirtualEagerTests", module.BaseEagerTaskFactoryTests, case, Task=Task)


def _adapt_futures(module):
    case = module.test_utils.TestCase
    _add(module, "VirtualFutureTests", module.BaseFutureTests, case, cls=Future)
    _add(
        module,
        "VirtualFutureDoneCallbackTests",
        module.BaseFutureDoneCallbackTests,
        case,
        _new_future=lambda self: Future(loop=self.loop),
    )


def _adapt_futures2(module):
    if hasattr(module, "CFutureTests"):
        _add(module, "VirtualTaskTests", module.FutureTests, unittest.IsolatedAsyncioTestCase, cls=Task)


def _adapt_base_events(module):
    base_events.BaseEventLoop = asyncio.BaseEventLoop
    del module.BaseLoopSockSendfileTests  # of the selector loop by its private name


def _adapt_events(module):
    """The tests for every event loop, run on ours instead of those that wait for sockets."""
    for name, value in list(vars(module).items()):
        if hasattr(value, "create_event_loop"):
            delattr(module, name)
    _add(
        module,
        "VirtualEventLoopTests",
        module.EventLoopTestsMixin,
        module.test_utils.TestCase,
        create_event_loop=lambda _self: asyncio.new_event_loop(),
    )


_ADAPTERS = {
    "test_base_events": _adapt_base_events,
    "test_eager_task_factory": _adapt_eager_task_factory,
    "test_events": _adapt_events,
    "test_futures": _adapt_futures,
    "test_futures2": _adapt_futures2,
    "test_tasks": _adapt_tasks,
}
