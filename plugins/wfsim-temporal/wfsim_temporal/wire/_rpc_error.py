"""The errors that a server answers a client with."""

from __future__ import annotations

from typing import Any

import temporalio.api.errordetails.v1 as details
from temporalio.api.common.v1 import GrpcStatus
from temporalio.service import RPCError, RPCStatusCode


def rpc_error(status: RPCStatusCode, message: str, detail: Any = None) -> RPCError:
    """Make an error with a status and, as gRPC packs it, a detail."""
    packed = GrpcStatus(code=int(status), message=message)
    if detail is not None:
        packed.details.add().Pack(detail)
    return RPCError(message, status, packed.SerializeToString())


def not_found(message: str) -> RPCError:
    """Make the error for what does not exist, or has ended."""
    return rpc_error(RPCStatusCode.NOT_FOUND, message, details.NotFoundFailure())
