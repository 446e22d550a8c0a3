"""The command line: ``wfsim run`` plays scenario files, ``wfsim check`` only reads them.

A shell: it parses arguments, asks the rooms below to do the work, and prints. Nothing heavy is imported
before the arguments are known to be good.
"""

from __future__ import annotations

from wfsim.cli._main import main

__all__ = ["main"]
