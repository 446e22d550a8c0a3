"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No test judges by the real clock: a busy machine is no defect of what is tested.
settings.register_profile("no real clock", deadline=None)
settings.load_profile("no real clock")
