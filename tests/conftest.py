"""What holds for every test."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell lets what it starts in the background ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test judges by the real clock: a busy machine is no defect of what is tested.
settings.register_profile("no real clock", deadline=None)
settings.load_profile("no real clock")
