"""Replay: the promise that a recorded run can be had again."""

from __future__ import annotations

from typing import TypeVar

from wfsim.errors import NondeterminismError, SimulationError
from wfsim.harness._determinism import compare
from wfsim.harness._experiment import ExperimentRun
from wfsim.harness._experiment import run as run_experiment
from wfsim.harness._run import Run

RunT = TypeVar("RunT", Run, ExperimentRun)


def replay(earlier: RunT) -> RunT:
    """Play a run again, with its design, seed and faults, and return the new run.

    Raises NondeterminismError, with the first operation that differs, if the history is not the same again.
    """
    if isinstance(earlier, ExperimentRun):
        again = run_experiment(earlier.experiment, earlier.seed)
        _insist(earlier.run, again.run)
        return again
    if earlier.again is None:
        raise SimulationError(f"the run of {earlier.name} does not know how it was made; simulate it again")
    run = earlier.again()
    _insist(earlier, run)
    return run


def _insist(earlier: Run, later: Run) -> None:
    if earlier.fingerprint != later.fingerprint:
        raise NondeterminismError(compare(earlier, later).message)
