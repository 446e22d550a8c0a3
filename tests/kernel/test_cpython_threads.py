"""The outside truth for blocking code: CPython's own tests of locks, queues, threads and executors.

They are taken from the running interpreter's `test` package, and each runs as the main function of a
simulation. Where an installation comes without that package, they are skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import queue
import unittest

import pytest

from wfsim.kernel import Simulation

LOCKS = (
    "LockTests",
    "PyRLockTests",
    "CRLockTests",
    "EventTests",
    "ConditionAsRLockTests",
    "ConditionTests",
    "SemaphoreTests",
    "BoundedSemaphoreTests",
    "BarrierTests",
    "TimerTests",
    "ThreadTests",
    "ThreadingExceptionTests",
)
POOL = "test_concurrent_futures"
CASES = [
    *(("test_threading", name) for name in LOCKS),
    ("test_threading_local", None),
    ("test_thread", None),
    ("test_queue", None),
    ("test_sched", None),
    (f"{POOL}.test_thread_pool", "ThreadPoolExecutorTest"),
    (f"{POOL}.test_wait", "ThreadPoolWaitTests"),
    (f"{POOL}.test_as_completed", "ThreadPoolAsCompletedTest"),
    (f"{POOL}.test_init", "ThreadPoolInitializerTest"),
    (f"{POOL}.test_shutdown", "ThreadPoolShutdownTest"),
    (f"{POOL}.test_future", None),
]

# Left out besides: tests that start a subprocess or fork, which the simulation refuses by an error.
LEFT_OUT = {
    "counts the interpreter's real threads, or raises in them": "test__count test_PyThreadState_SetAsyncExc",
    "reads from stderr what pytest captures": (
        "test_done_callback_raises test_done_callback_raises_already_succeeded"
    ),
    "a thread that `threading` did not start cannot be joined before 3.13": "test_joining_current_thread",
    "spins without looking at a clock or a lock until a forked child has its number": "test_forkinthread",
    "expects what Python 3.11 forgets to clean up": "test_foreign_thread test_ident_of_no_threading_threads",
    "private parts of `_thread` that the standard library does not use so": (
        "test_start_duplicate_handle test_unraisable_exception"
    ),
}


def cases():
    for module, name in CASES:
        full = f"test.{module}"
        try:
            found = importlib.util.find_spec(full) is not None
        except ImportError:
            found = False
        marks = () if found else pytest.mark.skip(reason=f"this Python comes without {full}")
        yield pytest.param(full, name, id=f"{module}.{name}" if name else module, marks=marks)


def every_test_of(suite: unittest.TestSuite):
    left_out = " ".join(LEFT_OUT.values()).split()
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from every_test_of(one)
        elif one._testMethodName not in left_out:
            yield one


def adapt(module, monkeypatch) -> None:
    """test_queue imports a second copy of the C module, whose type nobody but the test knows."""
    for value in vars(module).values():
        copy = getattr(value, "queue", None)
        if getattr(copy, "__name__", "") == "queue" and copy.SimpleQueue.__module__ == "_queue":
            monkeypatch.setattr(value, "queue", queue)


@pytest.mark.parametrize(("module", "name"), list(cases()))
def test_cpythons_own_tests_pass_in_virtual_time(module: str, name: str | None, monkeypatch) -> None:
    """Each of CPython's tests of blocking code that needs no real thread or process passes in a run."""
    found = importlib.import_module(module)
    adapt(found, monkeypatch)
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromModule(found) if name is None else loader.loadTestsFromName(name, found)
    ran, refused, wrong = 0, 0, []
    for test in every_test_of(suite):
        result = unittest.TestResult()
        outcome = Simulation().run(lambda test=test, result=result: test.run(result) and None)
        texts = [text for _, text in result.errors + result.failures]
        if any("RealIOError" in text for text in texts):
            refused += 1
            continue
        ran += 1
        wrong += [(test.id(), outcome.name)] if outcome.error is not None else []
        wrong += [(test.id(), text) for text in texts]
    assert not wrong
    assert ran > refused
