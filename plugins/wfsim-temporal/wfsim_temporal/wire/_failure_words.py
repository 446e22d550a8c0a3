"""What a failure says, in one line: the type and the message of its error, and of what caused it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wfsim_temporal.wire._own_code import place_in

if TYPE_CHECKING:
    from temporalio.api.failure.v1 import Failure

_LINKS: Final = 5


def words_of(failure: Failure) -> str:
    """Tell of an error, its causes and the line of the user's own code that it comes from.

    Where a message begins with a code of Temporal's own, the type is left out.
    """
    places = (place_in(one.stack_trace) for one in reversed(_chain(failure)))
    place = next(filter(None, places), "")
    told = placeless_words_of(failure)
    return f"{told} (at {place})" if place else told


def placeless_words_of(failure: Failure) -> str:
    """Tell of an error and its causes: the same in each version of Python, which lines are not."""
    return ", caused by ".join(map(_own_words, _chain(failure)))


def _chain(failure: Failure) -> list[Failure]:
    chain = [failure]
    while chain[-1].HasField("cause") and len(chain) < _LINKS:
        chain.append(chain[-1].cause)
    return chain


def _own_words(failure: Failure) -> str:
    kind, message = failure.application_failure_info.type, failure.message
    if not kind or message.startswith("[TMPRL"):
        return message
    return f"{kind}: {message}" if message else kind
