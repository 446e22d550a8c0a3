"""Plugins: how they add names, and what happens when they clash."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace
from typing import Any

import pytest

from wfsim.errors import WfsimError
from wfsim.hookspecs import GROUP, hookimpl, installed_plugins, load_plugins


class Brownout:
    """A plugin that adds a kind of fault and a checker."""

    @hookimpl
    def wfsim_faults(self) -> dict[str, Any]:
        return {"brownout": dict}

    @hookimpl
    def wfsim_checkers(self) -> dict[str, Any]:
        return {"no_brownout": len}


class Blackout:
    """A plugin that adds another kind of fault and a target."""

    @hookimpl
    def wfsim_faults(self) -> dict[str, Any]:
        return {"blackout": list}

    @hookimpl
    def wfsim_targets(self) -> dict[str, Any]:
        return {"grid": tuple}


class Typo:
    """A plugin for a hook that does not exist."""

    @hookimpl
    def wfsim_fautls(self) -> dict[str, Any]:
        return {}


def test_what_plugins_add_is_found_by_name() -> None:
    """The answers of all plugins to one hook make one mapping."""
    plugins = load_plugins(Brownout(), Blackout())
    assert (plugins.faults["brownout"], plugins.faults["blackout"]) == (dict, list)
    assert plugins.checkers["no_brownout"] is len
    assert plugins.targets["grid"] is tuple


def test_one_name_has_one_owner() -> None:
    """Two plugins that claim one name are refused, instead of one silently winning."""
    with pytest.raises(WfsimError, match=r"both name 'brownout' in wfsim_faults"):
        load_plugins(Brownout(), Brownout())


def test_an_unknown_hook_is_refused() -> None:
    """A misspelt hook is an error, since it would never be called."""
    with pytest.raises(WfsimError, match="wfsim_fautls"):
        load_plugins(Typo())


def test_a_plugin_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that announces a plugin under the group is loaded without being named."""
    entry = SimpleNamespace(group=GROUP, name="power", load=Brownout)
    distribution = SimpleNamespace(entry_points=[entry], metadata={"name": "power"})
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: [distribution])
    assert load_plugins().faults == {"brownout": dict}


def test_a_plugin_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken plugin ends in one error that says which import failed."""

    def broken() -> Any:
        raise ImportError("no module named brownout")

    entry = SimpleNamespace(group=GROUP, name="power", load=broken)
    distribution = SimpleNamespace(entry_points=[entry], metadata={"name": "power"})
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: [distribution])
    with pytest.raises(WfsimError, match="no module named brownout"):
        load_plugins()


def test_the_installed_plugins_are_looked_for_once() -> None:
    """Looking through all distributions is slow, so the answer is kept."""
    assert installed_plugins() is installed_plugins()
