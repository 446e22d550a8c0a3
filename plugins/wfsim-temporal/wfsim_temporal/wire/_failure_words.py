"""What a failure says, in one line: the type and the message of its error, and of what caused it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from temporalio.api.failure.v1 import Failure

_LINKS: Final = 5


def words_of(failure: Failure) -> str:
    """Tell of an error and its causes; where a message begins with a code of Temporal's own, without the type."""
    told, links = [_own_words(failure)], 1
    while failure.HasField("cause") and links < _LINKS:
        failure, links = failure.cause, links + 1
        told.append(_own_words(failure))
    return ", caused by ".join(told)


def _own_words(failure: Failure) -> str:
    kind, message = failure.application_failure_info.type, failure.message
    return f"{kind}: {message}" if kind and not message.startswith("[TMPRL") else message
