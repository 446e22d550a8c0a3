"""Capacity: how much of something there is, and who waits for it."""

from __future__ import annotations

from wfsim.capacity._pool import Pool

__all__ = ["Pool"]
