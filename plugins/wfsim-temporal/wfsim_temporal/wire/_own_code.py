"""What is a user's own code, and what of a library."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Final

import wfsim
from wfsim.errors import WfsimError

_STANDARD: Final = str(Path(os.__file__).parent) + os.sep
_OWN: Final = tuple(str(one) + os.sep for one in (Path(__file__).parents[1], Path(wfsim.__file__).parent))
_FRAME: Final = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)


def is_library(filename: str) -> bool:
    """Whether code is of a library, the standard one included, and not of the user."""
    installed = os.sep + "site-packages" + os.sep in filename
    return installed or filename.startswith(("<", _STANDARD, *_OWN))


def keep_own_frames(error: BaseException | None) -> None:
    """Leave in the tracebacks of an error and its causes the user's own code alone.

    Only of errors that say what they have to by themselves: those of wfsim and of Temporal.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, WfsimError) or type(error).__module__.startswith("temporalio."):
            error.__traceback__ = _own_frames(error.__traceback__)
            before = error.__context__
            if before is not None and before is not error.__cause__ and not _own_frames(before.__traceback__):
                error.__context__ = None
        error = error.__cause__ or error.__context__


def _own_frames(whole: TracebackType | None) -> TracebackType | None:
    links = []
    while whole is not None:
        if not is_library(whole.tb_frame.f_code.co_filename):
            links.append(whole)
        whole = whole.tb_next
    kept = None
    for link in reversed(links):
        kept = TracebackType(kept, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return kept


def place_in(stack_trace: str) -> str:
    """Give the innermost line of the user's own code in a stack trace, as "file.py:12 in function"; empty if none."""
    frames = [one for one in _FRAME.finditer(stack_trace) if not is_library(one["file"])]
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last['file']).name}:{last['line']} in {last['function']}"
