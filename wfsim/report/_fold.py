"""Shortening: what repeats is told once, what does not matter is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wfsim.report._line import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_PERIOD = 8
_WORTH_FOLDING = 4
_STORIES = 3


def fold(lines: Sequence[Line]) -> list[Line]:
    """Replace the middle of each long repetitive stretch, such as forty failed attempts, by one line."""
    keys = [(line.process, line.depth, line.pattern, line.breaks) for line in lines]
    out: list[Line] = []
    at = 0
    while at < len(lines):
        period, times = _repetition(keys, at)
        hidden = period * (times - 2)
        if hidden < _WORTH_FOLDING:
            out.append(lines[at])
            at += 1
            continue
        out += lines[at : at + period]
        again = lines[at + period : at + period + hidden]
        out.append(_same_again(again, times - 2))
        out += lines[at + period + hidden : at + period * times]
        at += period * times
    return out


def _repetition(keys: Sequence[object], start: int) -> tuple[int, int]:
    """Find the period at ``start`` that covers most lines, and how often it repeats."""
    best = (1, 1)
    for period in range(1, min(_LONGEST_PERIOD, len(keys) - start) + 1):
        end = start + period
        while end < len(keys) and keys[end] == keys[end - period]:
            end += 1
        times = (end - start) // period
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _same_again(hidden: Sequence[Line], times: int) -> Line:
    first = hidden[0]
    return replace(
        first,
        text=f"… the same {times} more times",
        aside="",
        took_ns=hidden[-1].time_ns - first.time_ns,
        tone="aside",
        fault=False,
        breaks=(),
        skipped=len(hidden),
    )


def cut(lines: Sequence[Line], limit: int) -> list[Line]:
    """Keep about ``limit`` lines: what is marked and its neighbours, then both ends; say what is left out."""
    if len(lines) <= limit:
        return list(lines)
    last = len(lines) - 1
    marked = [at for at, line in enumerate(lines) if line.breaks] + [
        at for at, line in enumerate(lines) if line.fault
    ]
    near = [spot for at in marked for spot in (at, at - 1, at + 1) if 0 <= spot <= last]
    ends = [at for first in range(limit) for at in (first, last - first)]
    kept = list(dict.fromkeys([*list(dict.fromkeys(near))[: limit // 2], *ends]))[:limit]
    return list(_with_gaps(lines, sorted(kept)))


def _with_gaps(lines: Sequence[Line], kept: Sequence[int]) -> Iterable[Line]:
    following = 0
    for at in kept:
        if at > following:
            yield _gap(lines[following:at])
        yield lines[at]
        following = at + 1
    if following < len(lines):
        yield _gap(lines[following:])


def _gap(hidden: Sequence[Line]) -> Line:
    count = sum(line.skipped or 1 for line in hidden)
    text = "… 1 more line" if count == 1 else f"… {count} more lines"
    return Line(
        index=hidden[0].index,
        time_ns=hidden[0].time_ns,
        process="",
        depth=0,
        text=text,
        pattern=text,
        took_ns=hidden[-1].time_ns - hidden[0].time_ns,
        tone="aside",
        story=hidden[0].story,
        skipped=count,
    )


@dataclass(frozen=True, slots=True)
class Focus:
    """The lines worth showing, and in one sentence what is not among them."""

    lines: list[Line]
    rest: str = ""


def focus(lines: Sequence[Line], limit: int) -> Focus:
    """Choose what to show of a run: all of it if it fits, else the stories that tell most."""
    folded = fold(lines)
    if len(folded) <= limit:
        return Focus(folded)
    stories = _stories(lines)
    chosen = _choose(stories, limit)
    if len(chosen) < len(stories):
        processes = {line.process for story in chosen for line in stories[story]}
        loose = [line for line in lines if line.story < 0 and (line.process in processes or line.fault)]
        shown = sorted(
            [*loose, *(line for story in chosen for line in stories[story])], key=lambda line: line.index
        )
        rest = _rest([told for story, told in stories.items() if story not in chosen])
        return Focus(cut(fold(shown), limit), rest)
    return Focus(cut(folded, limit))


def _stories(lines: Iterable[Line]) -> dict[int, list[Line]]:
    """Group the lines by the outermost operation that they belong to."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        if line.story >= 0:
            found.setdefault(line.story, []).append(line)
    return found


def _choose(stories: dict[int, list[Line]], limit: int) -> list[int]:
    """Take the most telling stories, one of each shape, one after the other in time, as long as they fit."""
    chosen: list[int] = []
    shapes: dict[tuple[tuple[int, str], ...], int] = {}
    used = 0
    for story in sorted(stories, key=lambda story: _interest(stories[story]), reverse=True):
        told = stories[story]
        if any(_overlap(told, stories[other]) for other in chosen):
            continue
        shape = tuple((line.depth, line.pattern) for line in told)
        length = len(fold(told))
        if len(chosen) == _STORIES:
            break
        if shape in shapes or (chosen and used + length > limit):
            continue
        shapes[shape] = story
        chosen.append(story)
        used += length
    return chosen


def _overlap(one: Sequence[Line], other: Sequence[Line]) -> bool:
    return one[0].time_ns < other[-1].time_ns and other[0].time_ns < one[-1].time_ns


def _interest(story: Sequence[Line]) -> tuple[int, bool, int, int]:
    """Rank a story: first what a checker objects to, then what went wrong, then what was struck."""
    went_wrong = not _ended_well(story)
    return (
        sum(bool(line.breaks) for line in story),
        went_wrong,
        sum(line.fault for line in story),
        -story[0].index,
    )


def _ended_well(story: Sequence[Line]) -> bool:
    return story[-1].depth == 0 and story[-1].tone == "good"


def _rest(stories: Sequence[Sequence[Line]]) -> str:
    """Count the stories that are not shown, by how they ended."""
    ends: Counter[str] = Counter()
    for story in stories:
        outer = [line for line in story if line.depth == 0]
        last = outer[-1] if outer else story[-1]
        ends[_ENDS.get(last.tone, "unfinished")] += 1
    counts = ", ".join(
        f"{count} {end}" for end, count in sorted(ends.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"{len(stories)} more not shown: {counts}"


_ENDS = {"good": "ok", "bad": "failed", "doubt": "with unknown outcome"}
