"""``wfsim check``: read scenario files, run nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wfsim.cli._files import scenario_files
from wfsim.errors import ScenarioError
from wfsim.scenario import look_over

if TYPE_CHECKING:
    from collections.abc import Iterable


def check(paths: Iterable[str]) -> int:
    """Say for each file whether it is a good scenario. Return 2 if one is not; what is only unlikely is told."""
    code = 0
    for path in paths:
        try:
            files = scenario_files(path)
        except ScenarioError as error:
            print(error, file=sys.stderr)
            code = 2
            continue
        for file in files:
            code = max(code, _check_one(file))
    return code


def _check_one(file: str) -> int:
    try:
        experiment, remarks = look_over(file)
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    for remark in remarks:
        print(remark, file=sys.stderr)
    print(f"{file}: ok ({experiment.name})")
    return 0
