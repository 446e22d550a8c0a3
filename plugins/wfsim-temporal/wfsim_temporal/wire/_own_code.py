"""What is a user's own code, and what of a library."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import wfsim

_STANDARD: Final = str(Path(os.__file__).parent) + os.sep
_OWN: Final = tuple(str(one) + os.sep for one in (Path(__file__).parents[1], Path(wfsim.__file__).parent))
_FRAME: Final = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)


def is_library(filename: str) -> bool:
    """Whether code is of a library, the standard one included, and not of the user."""
    installed = os.sep + "site-packages" + os.sep in filename
    return installed or filename.startswith(("<", _STANDARD, *_OWN))


def place_in(stack_trace: str) -> str:
    """Give the innermost line of the user's own code in a stack trace, as "file.py:12 in function"; empty if none."""
    frames = [one for one in _FRAME.finditer(stack_trace) if not is_library(one["file"])]
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last['file']).name}:{last['line']} in {last['function']}"
