"""Modules that a scenario file named by their path, for the SDK's sandbox, which imports them anew by name."""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class _FileModules(MetaPathFinder):
    """Finds modules that lie on no import path."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    def add(self, name: str, file: str) -> None:
        """Let a module be found by its name; the latest file of that name is the one."""
        self._files[name] = file

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - importlib's signature
        target: Any = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """See importlib; what stands before a dot in a name is a package with nothing of its own."""
        if fullname in self._files:
            return importlib.util.spec_from_file_location(fullname, self._files[fullname])
        if any(name.startswith(f"{fullname}.") for name in self._files):
            return ModuleSpec(fullname, None, is_package=True)
        return None


_FINDER = _FileModules()


def make_importable(cls: type) -> None:
    """Let the module of a class be imported by its name, also if it was loaded from a file on no import path."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is not None:
        _FINDER.add(cls.__module__, file)
    if _FINDER not in sys.meta_path:
        sys.meta_path.append(_FINDER)  # the last to be asked
