"""Values that are made anew for each instance of a workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Template:
    """Makes the input of instance ``i``: ``{i}`` in its texts becomes the number."""

    value: Any

    def __call__(self, instance: int) -> Any:
        """Return the input of one instance."""
        return _filled(self.value, str(instance))


def _filled(value: Any, number: str) -> Any:
    if isinstance(value, str):
        return value.replace("{i}", number)
    if isinstance(value, dict):
        return {key: _filled(inner, number) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, number) for inner in value]
    return value
