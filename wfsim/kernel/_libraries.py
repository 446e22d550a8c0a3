"""Where a library of the machine lies is looked up outside of a run, also if a run is the first to ask.

`ctypes.util.find_library` asks programs such as ldconfig. Modules do so when they are imported, trio among them, and
so whatever imports one of those late: to them it is no more than reading a file.
"""

from __future__ import annotations

import ctypes.util

from wfsim.kernel import _patching
from wfsim.kernel import _switchboard as at
from wfsim.kernel._threads import in_real_thread

_find_library_outside = ctypes.util.find_library


def _find_library(name: str) -> str | None:
    if at.here() is None:
        return _find_library_outside(name)
    found: str | None = in_real_thread(_find_library_outside, name)
    return found


_patching.replace(_find_library_outside, _find_library)
