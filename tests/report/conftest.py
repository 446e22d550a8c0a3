"""Histories to report on, written by hand through the real recorder."""

from __future__ import annotations

from typing import Any

import pytest

from wfsim.history import History, Recorder

MS = 1_000_000


class Script:
    """Writes a history call by call; every call advances the clock by what it took."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.recorder = Recorder(lambda: self.now_ns)

    def start(
        self, kind: str, name: str, process: str = "shop-1", parent: int | None = None, attempt: int = 1
    ) -> int:
        return self.recorder.invoke(kind, "shop", name, process, attempt, parent)

    def end(self, index: int, type: str = "ok", took_ms: float = 0, **data: Any) -> int:
        self.now_ns += round(took_ms * MS)
        return self.recorder.complete(type, index, data=data or None)

    def call(
        self,
        name: str,
        parent: int | None = None,
        *,
        kind: str = "forward",
        process: str = "shop-1",
        attempt: int = 1,
        fault: str = "",
        took_ms: float = 10,
        type: str = "ok",
        **data: Any,
    ) -> int:
        """One call from start to end; gives the index of its completion."""
        invoke = self.start(kind, name, process, parent, attempt)
        if fault:
            self.strike(invoke, fault)
        return self.end(invoke, type, took_ms, **data)

    def strike(self, call: int, fault: str, process: str = "shop-1") -> None:
        """Record a fault as the kernel does, before it strikes."""
        self.recorder.event(
            "fault", "shop", fault, process, 1, call, call, {"point": "call", "step": "charge"}
        )

    def fact(
        self,
        kind: str,
        name: str,
        *,
        process: str = "shop-1",
        parent: int | None = None,
        attempt: int = 0,
        **data: Any,
    ) -> int:
        return self.recorder.event(kind, "shop", name, process, attempt, parent, None, data or None)

    def history(self) -> History:
        return self.recorder.history()


@pytest.fixture
def script() -> Script:
    return Script()
