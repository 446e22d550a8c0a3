"""The calls that a client can make of the server."""

from __future__ import annotations

from wfsim_temporal.rpc._service import CALLS, SimulatedServiceClient
from wfsim_temporal.rpc._visibility import Batch

__all__ = ["CALLS", "Batch", "SimulatedServiceClient"]
