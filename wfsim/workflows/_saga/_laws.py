"""What the steps of a saga must be to each other, so that every run can end well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wfsim.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.workflows._saga._step import Step


def check_step(step: Step, saga: str) -> None:
    """Raise DesignError if what the step says of itself is a contradiction."""
    part = f"step {step.name!r} of saga {saga!r}"
    if step.pivot and step.retriable:
        raise DesignError(
            f"{part} is pivot and retriable; the pivot is the last step that may fail, so let it be one of them"
        )
    if step.pivot and step.read_only:
        raise DesignError(f"{part} is pivot and read_only; a step that changes nothing decides nothing")
    if step.pivot and step.compensate is not None and not step.compensate_unknown:
        raise DesignError(
            f"{part} is the pivot, after which nothing is compensated, so its compensate would never run; "
            "drop it, or drop pivot=True"
        )
    if step.read_only and step.compensate is not None:
        raise DesignError(f"{part} is read_only, so there is nothing to compensate; drop one of the two")
    if not step.atomic and step.compensate is None:
        raise DesignError(
            f"{part} is not atomic: it may fail half done, and nothing undoes the half; add compensate=..."
        )


def check_against(
    new: Step, earlier: Sequence[Step], befores: Mapping[str, frozenset[str]], saga: str
) -> None:
    """Raise DesignError if the new step makes a run possible that could neither finish nor turn back.

    ``befores`` gives for each step all that must have succeeded before it begins. The rule is that of the
    pivot (Mehrotra and others, 1992; Richardson): before a step that nothing undoes comes everything that
    can fail, after it only what is retriable.
    """
    read = [claim.table for one in earlier if one.name in befores[new.name] for claim in one.reads]
    for claim in new.locks:
        if claim.when_locked == "reread" and claim.table not in read:
            raise DesignError(
                f"step {new.name!r} of saga {saga!r} rereads what no step before it has read; give an earlier step "
                f"reads=..., made by read() of lock table {claim.table.name!r}"
            )
    for one in earlier:
        if one.pivot and new.pivot:
            raise DesignError(
                f"saga {saga!r} has two pivots, {one.name!r} and {new.name!r}; "
                "the second can fail after the first has decided: make it retriable=True"
            )
        if not one.leaves_no_trace and not new.retriable:
            raise DesignError(_unprotected(one, new, saga))
        if not new.leaves_no_trace and not one.retriable and one.name not in befores[new.name]:
            raise DesignError(_beside(new, one, saga))
        if one.pivot and new.compensate is not None and one.name in befores[new.name]:
            raise DesignError(
                f"step {new.name!r} of saga {saga!r} comes after the pivot {one.name!r}, from where the saga only "
                "goes forward, so its compensate would never run; drop it"
            )


def _unprotected(one: Step, new: Step, saga: str) -> str:
    """Say why an earlier step that nothing undoes forbids this one."""
    if one.pivot:
        return (
            f"step {new.name!r} of saga {saga!r} comes after the pivot {one.name!r}, where there is no way back, "
            f"and it may fail; make it retriable=True (it is tried until it succeeds), or put it before {one.name!r}"
        )
    return (
        f"step {one.name!r} of saga {saga!r} has no compensation, yet {new.name!r} after it can fail, and then "
        f"what {one.name!r} did would stay; give {one.name!r} compensate=..., or read_only=True if it changes "
        f"nothing, or make it the pivot=True and {new.name!r} retriable=True, or put it last"
    )


def _beside(new: Step, one: Step, saga: str) -> str:
    what = "is the pivot" if new.pivot else "has no compensation"
    return (
        f"step {new.name!r} of saga {saga!r} {what}, and {one.name!r}, which runs beside it, can fail when "
        f"{new.name!r} is done; let {new.name!r} depend on {one.name!r} too, or make {one.name!r} retriable=True"
    )
