"""How often a client asks again when the server does not answer, and when: as Core's client does.

Source: the RetryConfig of the SDK, and how Core's client applies it (``retry.rs``): each wait is longer than the one
before, with some chance in it, and there is an end to the tries and to the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from temporalio.service import RetryConfig

if TYPE_CHECKING:
    from wfsim.kernel import Stream

_NS_PER_MS: Final = 1_000_000


class Patience:
    """What a client has for one call: ask it after each try that failed.

    Its time runs from the first failure: a server ends a long wait for an answer every few seconds, and the one here
    does not.
    """

    def __init__(self, config: RetryConfig | None, stream: Stream) -> None:
        self._config = config or RetryConfig()
        self._stream = stream
        self._failed_ns: int | None = None
        self._interval_ms: float = self._config.initial_interval_millis
        self.tries = 1

    def wait_ns(self, now_ns: int) -> int | None:
        """Give how long to wait before the next try; None if there is to be none."""
        config = self._config
        if self._failed_ns is None:
            self._failed_ns = now_ns
        limit_ms = config.max_elapsed_time_millis
        is_late = limit_ms is not None and now_ns - self._failed_ns > limit_ms * _NS_PER_MS
        if is_late or 0 < config.max_retries <= self.tries:
            return None
        spread = config.randomization_factor
        wait_ms = self._interval_ms * (1 + spread * (2 * self._stream.random() - 1))
        self._interval_ms = min(self._interval_ms * config.multiplier, config.max_interval_millis)
        self.tries += 1
        return int(wait_ms * _NS_PER_MS)
