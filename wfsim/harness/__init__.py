"""The harness: put a design, a workload and faults into one simulation and judge what happened.

``simulate`` runs anything once and returns a ``Run``. An ``Experiment`` adds a workload (how
many instances, arriving when), faults, expectations and seeds; ``run`` plays it with one seed and
``run_all`` with all of them. ``replay`` plays a run again and insists on the same history.
``check_determinism`` finds the first operation in which two runs of one seed differ. ``Target`` is
what an engine's plugin implements so that its code can be run in place of a wfsim design.
"""

from __future__ import annotations

from wfsim.harness._determinism import Determinism, Difference, check_determinism, compare
from wfsim.harness._expectation import Expectation, breaks, holds
from wfsim.harness._experiment import (
    ExpectationResult,
    Experiment,
    ExperimentResult,
    ExperimentRun,
    Judgement,
    judge_runs,
    run,
    run_all,
)
from wfsim.harness._judges import (
    completes_within,
    effect_count,
    effect_undone,
    op_count,
    outcome,
    success_rate,
)
from wfsim.harness._replay import replay
from wfsim.harness._run import Run, simulate
from wfsim.harness._target import (
    Description,
    DesignTarget,
    Factory,
    FunctionTarget,
    Reference,
    Target,
    target_of,
)
from wfsim.harness._workload import Workload

__all__ = [
    "Description",
    "DesignTarget",
    "Determinism",
    "Difference",
    "Expectation",
    "ExpectationResult",
    "Experiment",
    "ExperimentResult",
    "ExperimentRun",
    "Factory",
    "FunctionTarget",
    "Judgement",
    "Reference",
    "Run",
    "Target",
    "Workload",
    "breaks",
    "check_determinism",
    "compare",
    "completes_within",
    "effect_count",
    "effect_undone",
    "holds",
    "judge_runs",
    "op_count",
    "outcome",
    "replay",
    "run",
    "run_all",
    "simulate",
    "success_rate",
    "target_of",
]
