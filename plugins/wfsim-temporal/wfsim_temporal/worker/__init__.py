"""The worker: what it takes from the SDK, its slots and its cache, and the Replayer."""

from __future__ import annotations

from wfsim_temporal.worker._replay import check_replay
from wfsim_temporal.worker._replayer import replaying_outside
from wfsim_temporal.worker._session import Session
from wfsim_temporal.worker._worker import Worker

__all__ = ["Session", "Worker", "check_replay", "replaying_outside"]
