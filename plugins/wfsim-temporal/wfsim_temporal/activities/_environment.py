"""The SDK's environment for one attempt of an activity, made in a fifth of its time.

Each attempt has its own. Few of them ask for their info, so it is made for those that do.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

import temporalio.activity
from temporalio.testing import ActivityEnvironment

from wfsim_temporal.wire import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from temporalio.converter import DataConverter

    from wfsim_temporal.worker import Worker

_TEMPLATE: Final = ActivityEnvironment()
_INFO_FIELDS: Final = {one.name for one in fields(temporalio.activity.Info)}


class Environment(ActivityEnvironment):
    """The SDK's, but that ``info`` is what ``tell`` says when somebody first asks."""

    tell: Callable[[], Mapping[str, Any]]
    _told: temporalio.activity.Info | None

    @property
    def info(self) -> temporalio.activity.Info:
        """What ``activity.info()`` gives."""
        if self._told is None:
            values = {name: value for name, value in self.tell().items() if name in _INFO_FIELDS}
            self._told = changed(_TEMPLATE.info, values)
        return self._told

    @info.setter
    def info(self, told: temporalio.activity.Info) -> None:
        self._told = told


def _is_own(value: Any) -> bool:
    """Whether an attribute belongs to one environment alone: what changes while an activity runs."""
    return isinstance(value, set | list | dict) or (is_dataclass(value) and not isinstance(value, type))


# From the SDK's own instance, so that whatever a release adds is there too.
_SHARED: Final = {name: one for name, one in vars(_TEMPLATE).items() if name != "info" and not _is_own(one)}
_OWN: Final = {name: type(one) for name, one in vars(_TEMPLATE).items() if name != "info" and _is_own(one)}


def new_environment(
    worker: Worker, converter: DataConverter, tell: Callable[[], Mapping[str, Any]]
) -> Environment:
    """Make the environment of one attempt; ``tell`` gives its info, by the names of the SDK's fields."""
    environment = object.__new__(Environment)
    known = vars(environment)
    known.update(_SHARED)
    for name, make in _OWN.items():
        known[name] = make()
    known["_client"] = worker.client
    known["_told"] = None
    environment.metric_meter = worker.metric_meter
    environment.payload_converter = converter.payload_converter
    environment.tell = tell
    return environment
