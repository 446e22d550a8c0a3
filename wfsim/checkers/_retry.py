"""Whether each step was tried as often, and after such waits, as its policy says."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wfsim import errors
from wfsim.checkers._dag import task_of
from wfsim.checkers._runs import DESIGN_KINDS, DesignRun, error_of, split, times
from wfsim.checkers._verdict import Findings, Verdict
from wfsim.units import Duration, format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wfsim.history import History, Op, Span

Wait: TypeAlias = Duration | tuple[Duration, Duration]

_NO_ERROR: Final = ("CancelledError", "KeyboardInterrupt", "SystemExit", "GeneratorExit")
_NEVER: Final = (errors.DesignError, errors.RealIOError, errors.SimulationError)
_SPREAD: Final = 3  # of decorrelated jitter


@dataclass(slots=True)
class _Chain:
    """The tries of one step in one run, and what was recorded between them."""

    run: DesignRun | None
    tries: list[Span]
    retries: dict[int, Op] = field(default_factory=dict)  # by the index of the try that had failed
    policy: Mapping[str, Any] | None = None
    deadline_ns: int | None = None  # when the time of the whole is over

    @property
    def title(self) -> str:
        name = repr(self.tries[0].name)
        what = f"the compensation of {name}" if self.tries[0].kind == "compensate" else name
        return f"{self.run.title}: {what}" if self.run else what


def retried_as_policy(
    history: History,
    *,
    design: str | None = None,
    step: str | None = None,
    policy: Mapping[str, Any] | None = None,
    attempts: int | None = None,
    delays: Sequence[Wait] | None = None,
) -> Verdict:
    """Each step was tried again as its policy says: as often, after such waits, after failures worth it.

    The policy is what the history holds (a flow records it when it begins, a retry when it waits).
    ``policy``, a dict as ``Retry.describe()`` gives it, replaces that; ``attempts`` and ``delays`` (the wait
    after each try, as a duration or a pair of the shortest and the longest) replace single parts of it, and
    do for tries whose policy is not recorded. ``design`` and ``step`` name what to judge, all if None.

    Time spent in a cancelled or crashed run is not held against the policy, nor is giving up when the time of the
    whole saga is over or a step beside it has failed.
    """
    findings = Findings("retried_as_policy")
    told = _told(policy, attempts, delays)
    for chain in _chains(history):
        first = chain.tries[0]
        if (design is None or first.design == design) and (step is None or first.name == step):
            known = chain.policy if policy is None else policy
            if told and first.kind != "compensate":
                known = {**(known or {}), **told}
            if known is not None:
                _judge(chain, known, findings)
    return findings.verdict(
        "failing step", "tried again as its policy says", "no step with a retry policy failed"
    )


def _told(policy: Any, attempts: int | None, delays: Sequence[Wait] | None) -> dict[str, Any]:
    """Gather what the caller says of the policy, in the form in which a history says it."""
    told: dict[str, Any] = dict(policy or {})
    if attempts is not None:
        told["attempts"] = attempts
    if delays is not None:
        told["waits"] = [_range(wait) for wait in delays]
    return told


def _range(wait: Wait) -> tuple[int, int]:
    low, high = wait if isinstance(wait, tuple | list) else (wait, wait)
    return parse_duration(low), parse_duration(high)


# -- which tries belong together --


def _chains(history: History) -> list[_Chain]:
    spans = history.spans()
    runs, rest = split(spans, DESIGN_KINDS)
    ends = _deadlines(runs)
    chains = [chain for run in runs for chain in _chains_of_run(history, run, ends.get(run.whole.index))]
    chains += _chains_by_cause(history, rest)
    owner = {one.index: chain for chain in chains for one in chain.tries}
    for op in history.where(kind="retry"):
        failed = None if op.cause is None else history[op.cause].invoke
        chain = None if failed is None else owner.get(failed)
        if chain is not None and failed is not None:
            chain.retries[failed] = op
            chain.policy = chain.policy or op.data.get("policy")
    return chains


def _deadlines(runs: Sequence[DesignRun]) -> dict[int, int]:
    """Give when the time of each saga with a limit is over, by the index of its run. It counts from the first life."""
    found: dict[int, int] = {}
    first: dict[tuple[str, str], int] = {}
    for run in runs:
        limit_ns = run.whole.data.get("timeout_ns")
        if limit_ns is not None:
            began_ns = run.whole.start_ns
            if run.key is not None:
                began_ns = first.setdefault((run.whole.design, run.key), began_ns)
            found[run.whole.index] = began_ns + int(limit_ns)
    return found


def _chains_of_run(history: History, run: DesignRun, deadline_ns: int | None) -> list[_Chain]:
    """In a run of a design each step is one chain: its name is unique there."""
    declared, retry = run.declared(), run.whole.data.get("retry") or {}
    chains, cancelled = [], _cancelled_tasks(history, run)
    for kind, key in (("forward", "retry"), ("compensate", "compensate_retry"), ("task", "")):
        for name, tries in run.by_name(kind).items():
            policy = retry.get(task_of(name)) if kind == "task" else declared.get(name, {}).get(key)
            if policy is None and kind == "task" and "tasks" in run.whole.data:
                policy = _ONCE
            if policy is None and key in declared.get(name, {}):
                policy = _ONCE
            if policy is not None and policy is not _ONCE:
                policy = {**policy, **_surroundings(run, task_of(name)), "cancelled": name in cancelled}
                limit_ns = declared.get(name, {}).get(key.replace("retry", "timeout_ns"))
                policy = policy if limit_ns is None else {**policy, "timeout_ns": limit_ns}
            until_ns = deadline_ns if kind == "forward" else None
            chains += _taken_up_again(_Chain(run, tries, policy=policy, deadline_ns=until_ns))
    own = {"forward", "compensate", "task"}
    others = [part for part in run.parts if part.kind not in own]
    return chains + _chains_by_cause(history, others)


def _taken_up_again(chain: _Chain) -> list[_Chain]:
    """Part the tries before the deadline from those after it.

    A saga that was cut off in the middle of its pivot does not know whether it may turn back, so it goes on: it takes
    up again, from the first try on, what was cut off.
    """
    until_ns = chain.deadline_ns
    again = (place for place, one in enumerate(chain.tries) if place and one.attempt == 1)
    place = next(again, None)
    if until_ns is None or place is None or chain.tries[place].start_ns < until_ns:
        return [chain]
    before, after = chain.tries[:place], chain.tries[place:]
    return [
        replace(chain, tries=before, retries={}),
        replace(chain, tries=after, retries={}, deadline_ns=None),
    ]


def _surroundings(run: DesignRun, task: str) -> dict[str, Any]:
    """Give what a DAG says of a task that bears on its tries: a time limit, and whether they stand in line."""
    data, found = run.whole.data, {}
    if task in (data.get("timeouts_ns") or {}):
        found["timeout_ns"] = data["timeouts_ns"][task]
    if data.get("max_parallel") or task in (data.get("pools") or ()) or task in (data.get("agents") or ()):
        found["queues"] = True
    return found


def _cancelled_tasks(history: History, run: DesignRun) -> list[str]:
    """Name the tasks that a DAG cancelled: they may have waited for their next try."""
    return [op.name for op in history.children(run.whole.index) if op.kind == "cancel"]


_ONCE: Final[Mapping[str, Any]] = {"attempts": 1}


def _chains_by_cause(history: History, spans: Sequence[Span]) -> list[_Chain]:
    """Outside of a run: a later try names the failure of the one before as its cause."""
    chains: list[_Chain] = []
    owner: dict[int, _Chain] = {}
    for span in spans:
        before = None if span.cause is None else history[span.cause].invoke
        chain = None if before is None or span.attempt <= 1 else owner.get(before)
        if chain is None:
            chain = _Chain(None, [])
            chains.append(chain)
        chain.tries.append(span)
        owner[span.index] = chain
    return chains


# -- judging one of them --


def _judge(chain: _Chain, policy: Mapping[str, Any], findings: Findings) -> None:
    findings.judged += any(one.outcome in {"fail", "info"} for one in chain.tries) and policy is not _ONCE
    _judge_count(chain, policy, findings)
    waits: list[int] = []
    for number, (one, following) in enumerate(zip(chain.tries, chain.tries[1:], strict=False), start=1):
        if not _judge_going_on(chain, one, policy, findings):
            continue
        assert one.end_ns is not None  # noqa: S101 - it ended, or going on would have been a breach
        waits.append(following.start_ns - one.end_ns)
        _judge_wait(chain, number, waits, policy, findings)
    _judge_giving_up(chain, policy, findings)


def _judge_count(chain: _Chain, policy: Mapping[str, Any], findings: Findings) -> None:
    made, allowed = len(chain.tries), policy.get("attempts")
    indexes = [one.index for one in chain.tries]
    if allowed is not None and made > allowed:
        allows = "it has no retry policy" if policy is _ONCE else f"its policy allows {allowed}"
        findings.breach(f"{chain.title} was tried {times(made)}, but {allows}", *indexes)
    numbers = [one.attempt for one in chain.tries]
    if numbers != list(range(1, made + 1)):
        findings.breach(f"{chain.title}: its tries are numbered {_listed(numbers)}", *indexes)


def _judge_going_on(chain: _Chain, one: Span, policy: Mapping[str, Any], findings: Findings) -> bool:
    """Judge that a try was followed by another. Tell whether the wait between them can be judged."""
    number = chain.tries.index(one) + 1
    if one.outcome == "ok":
        findings.breach(
            f"{chain.title} was tried again after try {number} had succeeded", one.index, one.completion
        )
    elif one.outcome is None:
        findings.breach(f"{chain.title} was tried again before try {number} had ended", one.index)
    elif _retryable(one, policy) is False:
        failed = f"try {number} failed with {error_of(one)}, which is not retryable"
        message = f"{chain.title} was tried again after {failed}"
        findings.breach(message, one.index, one.completion)
    else:
        return True
    return False


def _judge_wait(
    chain: _Chain, number: int, waits: Sequence[int], policy: Mapping[str, Any], findings: Findings
) -> None:
    """Judge the wait after try ``number``, the last of ``waits``."""
    waited, failed, following = waits[-1], chain.tries[number - 1], chain.tries[number]
    before = waits[-2] if len(waits) > 1 else 0
    bounds = _wait_bounds(policy, number, before)
    queues = bool(policy.get("queues"))  # then a try may begin later than its policy lets it
    slack = 1 + waited // 10**12  # seconds are floats on their way to the clock
    said = f"{chain.title}: the wait after try {number} was {format_duration(waited)}"
    if (
        bounds is not None
        and not bounds[0] - slack <= (min(waited, bounds[1]) if queues else waited) <= bounds[1] + slack
    ):
        low, high = map(format_duration, bounds)
        says = low if low == high else f"{low} to {high}"
        findings.breach(f"{said}, its policy says {says}", failed.completion, following.index)
        return
    op = chain.retries.get(failed.index)
    announced = None if op is None else op.data.get("delay_ns")
    if op is not None and announced is not None and abs(announced - waited) > slack and not queues:
        message = f"{said}, although {format_duration(announced)} had been announced"
        findings.breach(message, failed.completion, op.index, following.index)


def _wait_bounds(policy: Mapping[str, Any], number: int, before: int) -> tuple[int, int] | None:
    """Give the shortest and the longest wait after try ``number``, None if the policy says nothing."""
    waits = policy.get("waits")
    if waits is not None:
        return waits[number - 1] if number <= len(waits) else None
    first = policy.get("delay_ns")
    if first is None:
        return None
    jitter, longest = policy.get("jitter", "none"), policy.get("max_delay_ns")
    if jitter == "decorrelated":
        high = max(before, first) * _SPREAD
        return (first, high) if longest is None else (min(first, longest), min(high, longest))
    wait = _plain_wait(policy, first, number)
    wait = wait if longest is None else min(wait, longest)
    return {"full": 0, "equal": wait // 2}.get(jitter, wait), wait


def _plain_wait(policy: Mapping[str, Any], first: int, number: int) -> int:
    if policy.get("backoff") != "exponential":
        return first
    try:
        return round(first * float(policy.get("factor", 2.0)) ** (number - 1))
    except OverflowError:
        return 2**63


def _judge_giving_up(chain: _Chain, policy: Mapping[str, Any], findings: Findings) -> None:
    """Judge that no further try was made."""
    last, made, allowed = chain.tries[-1], len(chain.tries), policy.get("attempts")
    op = chain.retries.get(last.index)
    if last.outcome in {"ok", None}:
        return
    retryable = _retryable(last, policy)
    if op is not None and op.data.get("gave_up") == "not retryable" and retryable:
        message = f"{chain.title}: {error_of(last)} was called not retryable, but its policy says it is"
        findings.breach(message, last.completion, op.index)
    elif allowed is not None and made < allowed and retryable and not _interrupted(chain, op):
        message = f"{chain.title} was given up after {_tries(made)}, but its policy allows {allowed}"
        findings.breach(message, *(one.index for one in chain.tries), None if op is None else op.index)


def _interrupted(chain: _Chain, op: Op | None) -> bool:
    """Whether a crash, a cancellation or the end of the run kept it from trying again."""
    if chain.run is None:
        return op is not None and "delay_ns" in op.data
    if chain.policy is not None and chain.policy.get("cancelled"):
        return True
    whole = chain.run.whole
    if whole.outcome is None or _cut_short(chain, chain.run, op):
        return True
    ended_for_another_reason = str(whole.result.get("error", "")).endswith(
        ("CancelledError", "CompensationStuck")
    )
    return op is not None and "delay_ns" in op.data and ended_for_another_reason


def _cut_short(chain: _Chain, run: DesignRun, op: Op | None) -> bool:
    """Whether the saga turned back, for a reason of its own, before the next try was due."""
    last = chain.tries[-1]
    if last.kind != "forward" or last.end_ns is None or (op is not None and "delay_ns" not in op.data):
        return False
    due_ns = last.end_ns + (0 if op is None else op.data["delay_ns"])
    if chain.deadline_ns is not None and chain.deadline_ns <= due_ns:
        return True
    failed = run.whole.result.get("failed")
    ends = [] if failed == last.name else [one.end_ns for one in run.parts if one.name == failed]
    return any(end_ns is not None and last.start_ns <= end_ns <= due_ns for end_ns in ends)


# -- what is worth another try --


def _retryable(span: Span, policy: Mapping[str, Any]) -> bool | None:
    """Tell whether the policy retries the error of this try; None if the history does not tell."""
    name = "TimeoutError" if _timed_out(span, policy) else str(span.result.get("error", ""))
    if name.rpartition(".")[2] in _NO_ERROR:
        return False
    allowed = policy.get("retry_on")
    if allowed is None:
        return True
    if not isinstance(allowed, list | tuple):
        return None
    found = _find(name)
    if found is not None and issubclass(found, _NEVER):
        return False
    return _is_one_of(name, found, [str(one) for one in allowed])


def _timed_out(span: Span, policy: Mapping[str, Any]) -> bool:
    """Tell whether a try was cut off by its time limit: the call is then cancelled, and its caller told so."""
    limit_ns, took_ns = policy.get("timeout_ns"), span.duration_ns
    cancelled = str(span.result.get("error", "")).endswith("CancelledError")
    return cancelled and limit_ns is not None and took_ns is not None and took_ns >= limit_ns


def _is_one_of(name: str, found: type[BaseException] | None, allowed: Sequence[str]) -> bool | None:
    if name in allowed or "Exception" in allowed:
        return True
    if found is None:
        return None
    kinds = [_find(one) for one in allowed]
    # A type that is known here derives from none that is unknown here.
    return any(kind is not None and issubclass(found, kind) for kind in kinds)


def _find(name: str) -> type[BaseException] | None:
    """Find an error type of Python or of wfsim by its name in the history; None for any other."""
    module, _, rest = name.rpartition(".")
    room: Any = {"": builtins, "wfsim.errors": errors}.get(module)
    found = getattr(room, rest, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _tries(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
