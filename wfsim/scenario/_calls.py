"""What a scenario file may say of any call of a simulated service: its latency, its failures, its policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator, ValidationInfo

from wfsim.errors import WfsimError
from wfsim.resilience import Retry
from wfsim.scenario._inline import ServiceSpec, Timeout
from wfsim.scenario._problems import Collected, Wrong
from wfsim.scenario._reference import load_error
from wfsim.scenario._validate import DistributionField, DurationNs, Name, Part, Probability, read_options
from wfsim.scenario._values import read_distribution

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from wfsim.workflows import Policy

_LATENCY = read_distribution("1ms")
"""Without any latency, orders of events appear that no real system shows."""


def _read_error(value: Any, info: ValidationInfo) -> type[Exception]:
    return load_error(value, (info.context or {})["folder"])


def _read_retry(value: Any, info: ValidationInfo) -> Retry | None:
    """Make a Retry from its own options; a bare number is the number of attempts."""
    if value is None:
        return None
    collected = Collected()
    options: dict[str, Any] = {}
    if isinstance(value, dict) and "retry_on" in value:
        with collected.at(("retry_on",)):
            options["retry_on"] = _read_errors(value["retry_on"], (info.context or {})["folder"])
        value = {key: option for key, option in value.items() if key != "retry_on"}
    with collected.at():
        options |= read_options(Retry, value)
    collected.raise_if_any()
    try:
        return Retry(**options)
    except (WfsimError, TypeError, ValueError) as error:
        raise Wrong(str(error)) from error


def _read_errors(value: Any, folder: FilePath) -> tuple[type[Exception], ...]:
    if not isinstance(value, list):
        return (load_error(value, folder),)
    collected = Collected()
    found = []
    for number, name in enumerate(value):
        with collected.at((number,)):
            found.append(load_error(name, folder))
    collected.raise_if_any()
    return tuple(found)


ErrorField = Annotated[Any, PlainValidator(_read_error)]
RetryField = Annotated[Any, PlainValidator(_read_retry)]


class CallPart(Part):
    """What any call of a simulated service may say."""

    latency: DistributionField = _LATENCY
    failure_probability: Probability = 0.0
    error: ErrorField = ConnectionError
    effect: Name | None = None
    idempotent: bool = False
    timeout: DurationNs | None = None
    retry: RetryField = None

    def service(self, name: str, default_effect: str | None) -> ServiceSpec:
        """Return the service; its effect has a default name unless the file gives one, or null for none."""
        effect = self.effect if "effect" in self.model_fields_set else default_effect
        return ServiceSpec(
            name=name,
            latency=self.latency,
            failure_probability=self.failure_probability,
            error=self.error,
            effect=effect,
            idempotent=self.idempotent,
            outlives_caller=self.timeout is not None,
        )

    def policy(self) -> Policy | None:
        """Return the policy that wraps the call: the retry, with the timeout around each attempt."""
        retry: Policy | None = self.retry
        return retry if self.timeout is None else Timeout(self.timeout, retry)
