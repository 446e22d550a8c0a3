"""Run the command line as ``python -m wfsim``."""

from __future__ import annotations

from wfsim.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
