"""YAML text to plain data that remembers where each part stands.

The loader only composes nodes; it never makes objects, so no text can run code. Scalars follow YAML 1.2:
``on``, ``yes`` and ``1:30`` are text, only ``true`` and ``false`` are truth values. JSON is YAML too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path: TypeAlias = tuple[str | int, ...]
Place: TypeAlias = tuple[int, int]

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_DIGITS_MAX = 40
_CURES = {
    "\\t": "indent with spaces; YAML allows no tabs",
    "mapping values are not allowed": "put text that contains ': ' in quotes, and check the indentation",
    "could not find expected ':'": "a key needs a colon and a space after it",
    "but got '{'": "put text that contains braces in quotes",
    "single document": "one file is one scenario; remove the '---' between them",
}
_NODES_MAX = 100_000


@dataclass(slots=True)
class Document:
    """The data of a file, where each value and each key stands, and what is wrong with the text itself.

    A ``broken`` text is no YAML; there is no data then, and one fault.
    """

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    faults: list[tuple[Place, Path, str, str]] = field(default_factory=list)
    broken: bool = False

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Return line and column of the value at ``path`` (or of its key), else of what encloses it."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))


class _Loader(yaml.SafeLoader):
    """Composes nodes; plain scalars get a tag by the rules above."""

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str:
        if kind is ScalarNode and implicit[0]:
            return _TAG + _kind_of(value or "")
        names = {ScalarNode: "str", SequenceNode: "seq", MappingNode: "map"}
        return _TAG + names[kind]


def parse(text: str) -> Document:
    """Compose ``text`` into a Document. What is no YAML at all is its one fault."""
    document = Document()
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        document.faults.append(_syntax_fault(error, text))
    except yaml.reader.ReaderError as error:
        document.faults.append(_character_fault(error, text))
    except RecursionError:
        document.faults.append(((1, 1), (), "the file is nested too deeply", ""))
    else:
        return _built(document, node)
    document.broken = True
    return document


def _built(document: Document, node: Node | None) -> Document:
    try:
        document.data = None if node is None else _Builder(document).build(node, ())
    except (RecursionError, _TooLargeError):
        problem = "the file is too large, or its aliases make it so"
        return Document(faults=[((1, 1), (), problem, "")], broken=True)
    return document


class _TooLargeError(Exception):
    """Aliases of aliases can make a short text stand for more data than fits in memory."""


class _Builder:
    """Turns nodes into plain data and notes places, duplicate keys and tags on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.open: list[Node] = []
        self.count = 0

    def build(self, node: Node, path: Path) -> Any:
        self.count += 1
        if self.count > _NODES_MAX:
            raise _TooLargeError
        self.document.values[path] = _place(node)
        if any(node is outer for outer in self.open):
            self._fault(node, path, "this alias contains itself")
            return None
        self.open.append(node)
        try:
            return self._build(node, path)
        finally:
            self.open.pop()

    def _build(self, node: Node, path: Path) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._fault(key, path, "a key must be a word, not a list or a mapping")
                continue
            inner = (*path, str(key.value))
            if key.value == "<<":
                self._fault(key, path, "merge keys are not read; write what they stand for in its place")
                continue
            if key.value in found:
                line = self.document.keys[inner][0]
                self._fault(key, inner, f"this key is there twice; the first is in line {line}")
                continue
            self.document.keys[inner] = _place(key)
            found[str(key.value)] = self.build(value, inner)
        return found

    def _scalar(self, node: Node, path: Path) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind not in {"null", "bool", "int", "float", "str"}:
            self._fault(
                node, path, f"tags such as {node.tag.replace(_TAG, '!!')} mean nothing here; remove it"
            )
            kind = "str"
        return _value(kind, node.value)

    def _fault(self, node: Node, path: Path, problem: str) -> None:
        self.document.faults.append((_place(node), path, problem, ""))


def _kind_of(text: str) -> str:
    if len(text) > _DIGITS_MAX:
        return "str"
    for kind, pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT)):
        if pattern.fullmatch(text):
            return kind
    return "str"


def _value(kind: str, text: str) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:  # an explicit tag that its text does not fit: !!int three
        return text


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> tuple[Place, Path, str, str]:
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    problem = f"not valid YAML: {(error.problem or error.context or '').removeprefix('but ')}"
    if error.context_mark and (error.context or "").startswith("while"):
        problem += f", {error.context} that begins in line {error.context_mark.line + 1}"
    return place, (), problem, _hint(f"{error.problem} {error.context}", line)


def _hint(problem: str, line: str) -> str:
    """Say what usually lies behind a syntax error."""
    if re.search(r":\s*[><]=?\s*\d", line):
        return "write a bound as a word, such as at_least: 0.9"
    return next((cure for sign, cure in _CURES.items() if sign in problem), "")


def _character_fault(error: yaml.reader.ReaderError, text: str) -> tuple[Place, Path, str, str]:
    before = text[: error.position]
    place = (before.count("\n") + 1, error.position - before.rfind("\n"))
    problem = f"the character U+{ord(text[error.position]):04X} may not stand in YAML"
    return place, (), problem, "remove it"
