"""Run one of CPython's test modules with virtual loops in place of asyncio's own; write what happened as JSON.

    python run_module.py bare|simulation test.test_asyncio.test_tasks REPORT.json [EXCLUDED ...]

A process of its own for each module, because such a module changes the state of the whole interpreter. "bare": loops
without a simulation, each with a clock of its own. "simulation": each test is the blocking main function of a
simulation of its own, so that all its loops, threads and sleeps are simulated. Excluded tests run too, so that the
list of them stays honest; they get less real time.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import unittest
from fnmatch import fnmatchcase
from pathlib import Path

import substitutes

_TEST_LIMIT_S = 20.0
_EXCLUDED_LIMIT_S = 0.5
_PROCESS_LIMIT_S = 100.0
_TOLD = 2000  # characters, the last ones, of each traceback


class _Result(unittest.TestResult):
    """Which test ended how; a test that failed in several ways counts once."""

    def __init__(self):
        super().__init__()
        self.passed = {}
        self.failed = {}
        self.omitted = {}

    def startTest(self, test):
        super().startTest(test)
        self.passed[test.id()] = ""

    def addError(self, test, err):
        self.passed.pop(test.id(), None)
        self.failed.setdefault(test.id(), self._exc_info_to_string(err, test)[-_TOLD:])

    addFailure = addError

    def addSubTest(self, test, _subtest, err):
        if err is not None:
            self.addError(test, err)

    def addSkip(self, test, reason):
        self.passed.pop(test.id(), None)
        self.omitted[test.id()] = reason


class _Hangs(Exception):
    """A test took more real time than any can need in virtual time."""


def _limit_real_time(excluded):
    """Fail the test that hangs, so that it is named."""
    call = unittest.TestCase.__call__

    def alarm(_signal, _frame):
        raise _Hangs

    def limited(test, result):
        if signal.getitimer(signal.ITIMER_REAL)[0]:  # a test that runs tests
            return call(test, result)
        is_excluded = any(fnmatchcase(test.id(), pattern) for pattern in excluded)
        signal.setitimer(signal.ITIMER_REAL, _EXCLUDED_LIMIT_S if is_excluded else _TEST_LIMIT_S)
        try:
            return call(test, result)
        except _Hangs:
            return result.addError(test, sys.exc_info())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            asyncio._set_running_loop(None)  # a test that fails half-way may leave its own there

    signal.signal(signal.SIGALRM, alarm)
    unittest.TestCase.__call__ = limited


def _run(where, name, excluded):
    virtual, stock = substitutes.count_loops()
    substitutes.install(where)
    module = importlib.import_module(name)
    substitutes.adapt(module)
    _limit_real_time(excluded)
    gc.freeze()  # many of the tests collect garbage: let them look at their own only
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = _Result()
    suite.run(result)
    return {
        "passed": list(result.passed),
        "failed": result.failed,
        "skipped": result.omitted,
        "virtual_loops": next(virtual),
        "stock_loops": sorted(stock),
    }


def main(where, name, path, *excluded):
    faulthandler.dump_traceback_later(_PROCESS_LIMIT_S, exit=True)
    Path(path).write_text(json.dumps(_run(where, name, excluded)))
    # Not the ordinary way out: a thread that hangs with its test would be waited for.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
