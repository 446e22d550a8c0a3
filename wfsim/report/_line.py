"""One line of a timeline, before it is known how wide the page is or what it can print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["plain", "good", "bad", "doubt", "aside"]


@dataclass(frozen=True, slots=True)
class Line:
    """What happened at one moment, in the design's words.

    ``depth`` is the indentation, ``pattern`` the text without what differs between repetitions (attempt
    numbers, delays, keys), by which long repetitive stretches are found. ``story`` is the index of
    the outermost operation it belongs to, -1 for a fact outside any.
    """

    index: int
    time_ns: int
    process: str
    depth: int
    text: str
    pattern: str
    aside: str = ""
    """What happened besides, such as an effect."""
    took_ns: int | None = None
    tone: Tone = "plain"
    fault: bool = False
    breaks: tuple[str, ...] = ()
    story: int = -1
    skipped: int = 0
    """How many lines this one stands for, when it says that some are left out."""
