"""What may be said of a step, checked and brought into the form in which it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._naming import did_you_mean
from wfsim.workflows._policy import Policy, ThreeTries, check_policy
from wfsim.workflows._saga._locks import Claim
from wfsim.workflows._saga._patience import Patience
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_DEFAULT_COMPENSATE_RETRY: Final = ThreeTries()


def way_forward(
    part: str,
    forward: Callable[..., Any],
    retry: Policy | None,
    timeout: Duration | None = None,
    *,
    retriable: bool,
) -> dict[str, Any]:
    """Give what a step does and how it is tried; a retriable one without a policy tries without end."""
    check_policy(retry, f"retry of {part}")
    return {
        "forward": forward,
        "forward_takes_context": _takes_context(forward, f"forward of {part}"),
        "retry": Patience() if retriable and retry is None else retry,
        "timeout_s": seconds(f"timeout of {part}", timeout),
        "retriable": retriable,
    }


def way_back(
    part: str,
    compensate: Callable[..., Any] | None,
    retry: Policy | None,
    timeout: Duration | None = None,
    *,
    unknown: bool = False,
) -> dict[str, Any]:
    """Give what undoes a step. Raise DesignError if it says how to compensate and not with what."""
    check_policy(retry, f"compensate_retry of {part}")
    if compensate is None and (retry is not None or timeout is not None or unknown):
        raise DesignError(f"{part} says how to compensate, but not with what; add compensate=...")
    return {
        "compensate": compensate,
        "compensate_takes_context": compensate is not None
        and _takes_context(compensate, f"compensate of {part}"),
        "compensate_retry": retry or _DEFAULT_COMPENSATE_RETRY,
        "compensate_timeout_s": seconds(f"compensate_timeout of {part}", timeout),
        "compensate_unknown": unknown,
    }


def order(part: str, depends_on: Iterable[str] | None, known: Sequence[str]) -> dict[str, Any]:
    """Give the steps that one waits for, each once. Raise DesignError if one is not there."""
    if depends_on is None:
        return {"after": tuple(known), "is_in_row": True}
    if isinstance(depends_on, str):
        raise DesignError(f"depends_on of {part} is a text; write a list: [{depends_on!r}]")
    wanted = tuple(dict.fromkeys(depends_on))
    for name in wanted:
        if name not in known:
            there = ", ".join(known) or "none"
            raise DesignError(
                f"{part} depends on {name!r}, which has not been added{did_you_mean(str(name), known)}; "
                f"there are so far: {there}"
            )
    return {"after": wanted, "is_in_row": False}


def seconds(part: str, duration: Duration | None) -> float | None:
    """Give a time limit in seconds. Raise DesignError if it is none."""
    if duration is None:
        return None
    limit = parse_duration(duration, part) / NS_PER_SECOND
    if not limit:
        raise DesignError(f"{part} is zero, so nothing could ever succeed; leave it out for no limit")
    return limit


def claims(part: str, word: str, given: Claim | Iterable[Claim]) -> tuple[Claim, ...]:
    """Give what a step claims of lock tables; ``word`` is what makes such a claim, "lock" or "read"."""
    found: tuple[Any, ...] = (given,) if isinstance(given, Claim) else tuple(given)
    for claim in found:
        if not isinstance(claim, Claim) or (claim.when_locked is None) != (word == "read"):
            raise DesignError(f"{word}s of {part}: write LockTable(...).{word}(...), not {claim!r}")
    return found


def _takes_context(fn: Callable[..., Any], part: str) -> bool:
    wanted = takes(fn, part)
    if wanted.least > 1:
        raise DesignError(
            f"{part} takes {wanted}; a step takes none, or one: the context with the earlier results"
        )
    return wanted.least == 1
