"""Who listens to a topic: a trie of patterns, with a table of the topics that were asked for.

``*`` stands for exactly one segment, ``#`` and ``**`` for any number of them, none included: AMQP's rules
for topic exchanges (AMQP 0-9-1, 3.1.3.3), with MQTT's and glob's other spelling.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from wfsim.workflows._events._event import checked_pattern, checked_topic

_T = TypeVar("_T")
_TABLE_MAX: Final = 10_000


class _Node(Generic[_T]):
    """What stands behind one more segment."""

    __slots__ = ("values", "ways")

    def __init__(self) -> None:
        self.ways: dict[str, _Node[_T]] = {}
        self.values: dict[int, _T] = {}

    def behind(self, segment: str) -> _Node[_T]:
        node = self.ways.get(segment)
        if node is None:
            node = self.ways[segment] = _Node()
            if segment == "#":
                node.ways["#"] = node  # it takes one segment after the other; "#.#" is the same as "#"
        return node


class Topics(Generic[_T]):
    """Values under patterns. ``match`` gives those whose pattern fits a topic, in the order of adding.

    To ask for a topic again costs one look-up, until a pattern is added or removed.
    """

    def __init__(self) -> None:
        self._root: _Node[_T] = _Node()
        self._added = 0
        self._table: dict[str, tuple[_T, ...]] = {}

    def add(self, pattern: str, value: _T) -> None:
        """Put a value under a pattern. Raise DesignError if it is no pattern."""
        node = self._root
        for segment in _segments(pattern):
            node = node.behind(segment)
        self._added += 1
        node.values[self._added] = value
        self._table.clear()

    def remove(self, pattern: str, value: _T) -> None:
        """Take a value away from its pattern, if it is there."""
        node = self._root
        for segment in _segments(pattern):
            found = node.ways.get(segment)
            if found is None:
                return
            node = found
        node.values = {number: one for number, one in node.values.items() if one is not value}
        self._table.clear()

    def match(self, topic: str) -> tuple[_T, ...]:
        """Give the values whose patterns fit this topic."""
        found = self._table.get(topic)
        if found is None:
            if len(self._table) >= _TABLE_MAX:
                self._table.clear()
            found = self._table[topic] = self._walk(checked_topic(topic))
        return found

    def _walk(self, segments: tuple[str, ...]) -> tuple[_T, ...]:
        found: dict[int, _T] = {}
        nodes = _closed([self._root])
        for segment in segments:
            ahead = [node.ways[way] for node in nodes for way in (segment, "*") if way in node.ways]
            ahead += [node.ways["#"] for node in nodes if "#" in node.ways]
            nodes = _closed(ahead)
        for node in nodes:
            found.update(node.values)
        return tuple(found[number] for number in sorted(found))


def _segments(pattern: str) -> list[str]:
    return ["#" if segment == "**" else segment for segment in checked_pattern(pattern)]


def _closed(nodes: list[_Node[_T]]) -> list[_Node[_T]]:
    """Give the nodes and those that a "#" reaches without taking a segment."""
    reached = dict.fromkeys(nodes)
    for node in nodes:
        if "#" in node.ways:
            reached[node.ways["#"]] = None
    return list(reached)


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a pattern fits a topic."""
    topics: Topics[bool] = Topics()
    topics.add(pattern, True)
    return bool(topics.match(topic))
