"""Print the fingerprint of each run in the output of ``wfsim run --json``, one line a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def fingerprints(value: Any, path: str = "") -> list[str]:
    """Find every fingerprint, wherever it stands, with the path that leads to it."""
    if isinstance(value, list):
        return [line for i, item in enumerate(value) for line in fingerprints(item, f"{path}[{i}]")]
    if not isinstance(value, dict):
        return []
    own = [f"{path} seed {value.get('seed')}: {value['fingerprint']}"] if "fingerprint" in value else []
    return own + [line for key, item in value.items() for line in fingerprints(item, f"{path}.{key}")]


if __name__ == "__main__":
    lines = fingerprints(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if not lines:
        sys.exit("no run has a fingerprint: nothing was played")
    print("\n".join(lines))
