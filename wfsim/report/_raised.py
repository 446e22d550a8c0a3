"""Where in the user's own code an error came from: what a newcomer asks first."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from traceback import walk_tb
from typing import Final

_OURS: Final = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES: Final = ("<", sysconfig.get_path("stdlib") + os.sep, sysconfig.get_path("purelib") + os.sep)


def raised_at(error: BaseException | None) -> str:
    """Write the innermost line of the user's code on the error's way, as "shop.py:12 in charge".

    Of an error that wfsim raised from another one, the other is asked. Empty if wfsim injected it: then the
    timeline says so.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        place = _innermost(error)
        if place:
            return place
        error = error.__cause__
    return ""


def _innermost(error: BaseException) -> str:
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if file.startswith(_OURS):
            return ""
        if not file.startswith(_LIBRARIES):
            return f"{Path(file).name}:{line} in {frame.f_code.co_qualname}"
    return ""
