"""How plugins extend wfsim: new faults, checkers, targets and reporters, known to scenarios by name.

A plugin is a module (or object) with functions of these names, marked with ``hookimpl``, and announced under
the entry-point group ``wfsim``::

    # brownout.py
    from wfsim.hookspecs import hookimpl


    @hookimpl
    def wfsim_faults():
        return {"brownout": Brownout}


    # pyproject.toml
    [project.entry - points.wfsim]
    brownout = "brownout"

Each hook returns a mapping from name to thing, so that nothing is imported twice and a clash of names is
found. Import this module late: it brings in pluggy, and asking for the plugins looks through all installed
distributions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import pluggy

from wfsim.errors import WfsimError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim.checkers import Verdict
    from wfsim.harness import Run, Target
    from wfsim.kernel import Fault

__all__ = ["GROUP", "Plugins", "hookimpl", "installed_plugins", "load_plugins"]

GROUP: Final = "wfsim"
"""The entry-point group, and the name that pluggy knows this project by."""

_hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's function as the answer to the hook of the same name."""


class _Hooks:
    """The questions that wfsim asks its plugins."""

    @_hookspec
    def wfsim_faults(self) -> Mapping[str, Callable[..., Fault]]:  # type: ignore[empty-body]
        """Name kinds of fault: each a callable that takes the fault's options and makes it."""

    @_hookspec
    def wfsim_checkers(self) -> Mapping[str, Callable[..., Verdict]]:  # type: ignore[empty-body]
        """Name checkers: each a pure function of a history (and options by keyword) that gives a verdict."""

    @_hookspec
    def wfsim_targets(self) -> Mapping[str, Callable[..., Target]]:  # type: ignore[empty-body]
        """Name targets: each a callable that makes what runs a design."""

    @_hookspec
    def wfsim_reporters(self) -> Mapping[str, Callable[[Run], str]]:  # type: ignore[empty-body]
        """Name reporters: each turns a run into text."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """All that the plugins add, by name."""

    faults: Mapping[str, Callable[..., Fault]]
    checkers: Mapping[str, Callable[..., Verdict]]
    targets: Mapping[str, Callable[..., Target]]
    reporters: Mapping[str, Callable[[Run], str]]


def load_plugins(*plugins: object) -> Plugins:
    """Load the installed plugins, and those given, and gather what they add.

    Raise WfsimError if two of them claim one name, or if one does not load.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(_Hooks)
    try:
        manager.load_setuptools_entrypoints(GROUP)
        for plugin in plugins:
            manager.register(plugin)
        manager.check_pending()
    except Exception as error:
        raise WfsimError(
            f"a plugin of entry-point group {GROUP!r} does not load: {type(error).__name__}: {error}"
        ) from error
    hooks = manager.hook
    return Plugins(
        faults=_gather(hooks.wfsim_faults),
        checkers=_gather(hooks.wfsim_checkers),
        targets=_gather(hooks.wfsim_targets),
        reporters=_gather(hooks.wfsim_reporters),
    )


@cache
def installed_plugins() -> Plugins:
    """Load the installed plugins once and keep them."""
    return load_plugins()


def _gather(hook: pluggy.HookCaller) -> dict[str, Any]:
    """Merge the answers to one hook, in order of the plugins' names (pluggy goes by installation)."""
    found: dict[str, Any] = {}
    owner: dict[str, str] = {}
    for implementation in sorted(hook.get_hookimpls(), key=lambda one: one.plugin_name):
        added = cast("Mapping[str, Any]", implementation.function())
        for name, thing in added.items():
            if name in found:
                both = f"{owner[name]!r} and {implementation.plugin_name!r}"
                raise WfsimError(f"plugins {both} both name {name!r} in {hook.name}; uninstall one of them")
            found[name] = thing
            owner[name] = implementation.plugin_name
    return found
