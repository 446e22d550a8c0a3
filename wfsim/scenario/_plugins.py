"""What the installed plugins add to scenario files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wfsim.hookspecs import Plugins


def plugins() -> Plugins:
    """Return the installed plugins; looked for only when a file names what wfsim itself does not have."""
    from wfsim.hookspecs import installed_plugins

    return installed_plugins()
