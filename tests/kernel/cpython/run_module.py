"""Run one of CPython's test modules with virtual loops in place of asyncio's own; print what happened as JSON.

    python run_module.py bare|simulation test.test_asyncio.test_tasks REPORT.json

A process of its own for each module, because such a module changes the state of the whole interpreter. "bare": loops
without a simulation, each with a clock of its own. "simulation": each test is the blocking main function of a
simulation of its own, so that all its loops, threads and sleeps are simulated.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fnmatch
import gc
import importlib
import json
import logging
import signal
import sys
import unittest
from pathlib import Path

import substitutes

_LIMIT_S = 20.0
_LIMIT_OF_EXCLUDED_S = 0.5
_PROCESS_LIMIT_S = 150.0


class Report(unittest.TestResult):
    """Which test ended how."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}
        self.skips: dict[str, str] = {}
        self._bad = False

    def startTest(self, test):
        super().startTest(test)
        self._bad = False

    def addError(self, test, err):
        self._note(test, err)

    def addFailure(self, test, err):
        self._note(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._note(test, err)

    def _note(self, test, err):
        self._bad = True
        self.failed.setdefault(test.id(), "".join(self._exc_info_to_string(err, test)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._bad = True
        self.skips[test.id()] = reason

    def addExpectedFailure(self, test, err):
        pass

    def stopTest(self, test):
        super().stopTest(test)
        if not self._bad:
            self.passed.append(test.id())


class _TooLong(Exception):
    """A test took more real time than any test on a virtual loop can need."""


def _limit_real_time(excluded: list[str]) -> None:
    """Name the test that hangs, instead of hanging."""
    call = unittest.TestCase.__call__
    nested = False

    def alarm(_signal, _frame):
        raise _TooLong("the test hangs")

    def limited(self, *args, **kwargs):
        nonlocal nested
        if nested:
            return call(self, *args, **kwargs)
        known = any(fnmatch.fnmatchcase(self.id(), one) for one in excluded)
        nested = True
        signal.setitimer(signal.ITIMER_REAL, _LIMIT_OF_EXCLUDED_S if known else _LIMIT_S)
        try:
            return call(self, *args, **kwargs)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            nested = False

    signal.signal(signal.SIGALRM, alarm)
    unittest.TestCase.__call__ = limited


def main(where: str, name: str, path: str, excluded: list[str]) -> None:
    faulthandler.dump_traceback_later(_PROCESS_LIMIT_S, exit=True)
    logging.getLogger("asyncio").addHandler(logging.NullHandler())
    virtual, stock = substitutes.count_loops()
    substitutes.install(where)
    module = importlib.import_module(name)
    substitutes.adapt(module)
    _limit_real_time(excluded)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    # CPython's tests collect garbage after each test; what is here now needs no second look.
    gc.freeze()
    report = Report()
    suite.run(report)
    result = {
        "passed": report.passed,
        "failed": report.failed,
        "skipped": report.skips,
        "virtual_loops": virtual[0],
        "stock_loops": sorted(stock),
    }
    Path(path).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
