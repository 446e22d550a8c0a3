"""One step of a saga."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from wfsim.workflows._policy import Policy
    from wfsim.workflows._saga._locks import Claim
    from wfsim.workflows._saga._saga import Saga


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga. ``Saga.add_step`` makes it and says what the fields mean."""

    name: str
    forward: Callable[..., Any]
    compensate: Callable[..., Any] | None
    retry: Policy | None
    compensate_retry: Policy
    compensate_unknown: bool
    forward_takes_context: bool
    compensate_takes_context: bool
    pivot: bool = False
    retriable: bool = False
    read_only: bool = False
    atomic: bool = True
    after: tuple[str, ...] = ()
    """The steps that must have succeeded before this one begins."""
    is_in_row: bool = True
    """Whether it simply follows all steps that were added before it."""
    timeout_s: float | None = None
    compensate_timeout_s: float | None = None
    locks: tuple[Claim, ...] = ()
    reads: tuple[Claim, ...] = ()
    saga: Saga | None = None
    """The saga that this step is, if it is one."""

    @property
    def asks_policy(self) -> bool:
        """Whether each try is made by its policy, or must be watched for doubt."""
        return self.compensate_unknown or not (self.retry is None or hasattr(self.retry, "after_failure"))

    @property
    def leaves_no_trace(self) -> bool:
        """Whether the world can be made as if the step had never been."""
        return self.compensate is not None or self.read_only

    @property
    def is_plain(self) -> bool:
        """Whether a saga of such steps, one after the other, needs to know nothing more of them."""
        return (
            self.is_in_row
            and self.atomic
            and not (
                self.pivot
                or self.retriable
                or self.timeout_s is not None
                or self.compensate_timeout_s is not None
                or self.locks
                or self.reads
                or self.saga is not None
            )
        )

    def describe(self) -> dict[str, Any]:
        """Give the step as plain data, for the history. What is as usual is left out."""
        data: dict[str, Any] = {
            "name": self.name,
            "compensatable": self.compensate is not None,
            "retry": self.retry and self.retry.describe(),
        }
        if self.compensate is not None:
            data["compensate_retry"] = self.compensate_retry.describe()
            data["compensate_unknown"] = self.compensate_unknown
        data |= {word: True for word in ("pivot", "retriable", "read_only") if getattr(self, word)}
        if not self.atomic:
            data["atomic"] = False
        limits = {"timeout_ns": self.timeout_s, "compensate_timeout_ns": self.compensate_timeout_s}
        data |= {word: round(one * NS_PER_SECOND) for word, one in limits.items() if one is not None}
        if not self.is_in_row:
            data["depends_on"] = list(self.after)
        if self.saga is not None:
            data["saga"] = self.saga.name
        return data
