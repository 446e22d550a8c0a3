"""The result of an experiment as plain JSON data, for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.report._summary import replay_command, state

if TYPE_CHECKING:
    from wfsim.harness import ExpectationResult, ExperimentResult, ExperimentRun

__all__ = ["as_data"]


def as_data(result: ExperimentResult) -> dict[str, Any]:
    """Give verdict, runs and expectations; durations in virtual seconds and in whole nanoseconds."""
    data: dict[str, Any] = {
        "name": result.experiment.name,
        "verdict": state(result),
        "runs": [_run(run) for run in result.runs],
        "expectations": [_expectation(one) for one in result.expectations],
    }
    if not result.passed:
        data["replay"] = replay_command(result)
    return data


def _run(one: ExperimentRun) -> dict[str, Any]:
    run = one.run
    error = None if run.error is None else ": ".join(filter(None, (type(run.error).__name__, str(run.error))))
    return {
        "seed": run.seed,
        "outcome": run.outcome,
        "error": error,
        "duration_s": run.duration,
        "duration_ns": run.duration_ns,
        "steps": run.steps,
        "operations": len(run.history),
        "faults": len(run.history.where(kind="fault")),
        "fingerprint": run.fingerprint,
        "verdicts": [
            {"expectation": str(one.expectation), "valid": one.verdict.valid, "message": one.verdict.message}
            for one in one.judgements
        ],
    }


def _expectation(result: ExpectationResult) -> dict[str, Any]:
    return {
        "expectation": str(result.expectation),
        "expected": "breaks" if result.expectation.breaks else "holds",
        "met": result.met,
        "message": result.verdict.message,
        "seed": None if result.deciding is None else result.deciding.seed,
    }
