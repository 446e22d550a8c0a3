"""The command that runs one test again."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def replay_command(config: pytest.Config, nodeid: str, seed: int | None = None) -> str:
    """Give the command, for where pytest was started; ``seed`` only if the test does not fix its own."""
    path, *names = nodeid.split("::")
    path = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    command = f"pytest {shlex.quote('::'.join([path, *names]))}"
    return command if seed is None else f"{command} --wfsim-seed {seed}"
