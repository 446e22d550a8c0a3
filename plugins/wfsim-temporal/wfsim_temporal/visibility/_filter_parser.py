"""The grammar of list filters: the part of SQL that the server understands after WHERE.

Errors are told by position as the server tells them: it parses the filter as the end of a SELECT statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

_BEFORE: Final = len("select * from table1 where ")
_TOKEN: Final = re.compile(
    r"""\s*(?:--[^\n]*|/\*.*?\*/)?\s*(?:
    (?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    |`(?P<quoted>[^`]+)`
    |(?P<word>[A-Za-z_@][\w@$.]*)
    |(?P<sign><=>|<=|>=|<>|!=|&&|\|\||[-+*/%=<>(),;!])
    |(?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_RESERVED: Final = frozenset(
    [
        "add",
        "and",
        "as",
        "asc",
        "auto_increment",
        "between",
        "binary",
        "by",
        "case",
        "collate",
        "convert",
        "create",
        "cross",
        "current_date",
        "current_time",
        "current_timestamp",
        "database",
        "databases",
        "default",
        "delete",
        "desc",
        "describe",
        "distinct",
        "div",
        "drop",
        "else",
        "end",
        "escape",
        "exists",
        "explain",
        "false",
        "for",
        "force",
        "from",
        "group",
        "having",
        "if",
        "ignore",
        "in",
        "index",
        "insert",
        "interval",
        "into",
        "is",
        "join",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "lock",
        "match",
        "maxvalue",
        "mod",
        "natural",
        "next",
        "not",
        "null",
        "on",
        "or",
        "order",
        "outer",
        "regexp",
        "rename",
        "replace",
        "right",
        "schema",
        "select",
        "separator",
        "set",
        "show",
        "starts_with",
        "straight_join",
        "table",
        "tables",
        "then",
        "to",
        "true",
        "union",
        "unique",
        "update",
        "use",
        "using",
        "utc_date",
        "utc_time",
        "utc_timestamp",
        "values",
        "when",
        "where",
    ]
)
_COMPARISONS: Final = frozenset(("=", "!=", "<>", "<", "<=", ">", ">=", "<=>"))
_WORD_COMPARISONS: Final = frozenset(("like", "starts_with", "regexp"))


class BadFilter(ValueError):
    """A filter that the server refuses; the message is the server's."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``name operator value``; the value is a list for IN and NOT IN."""

    name: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Between:
    """``name BETWEEN low AND high``."""

    name: str
    low: Any
    high: Any


@dataclass(frozen=True, slots=True)
class IsNull:
    """``name IS NULL``."""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    """``NOT inner``."""

    inner: Expression


@dataclass(frozen=True, slots=True)
class Joined:
    """``left AND right``, or ``left OR right``."""

    operator: str
    left: Expression
    right: Expression


Expression = Comparison | Between | IsNull | Not | Joined


class Filter(NamedTuple):
    """A parsed filter; without ``where`` everything fits."""

    where: Expression | None
    group_by: tuple[str, ...]


class _Token(NamedTuple):
    kind: str
    value: str
    end: int


def parse_filter(text: str) -> Filter:
    """Parse a filter. Raises BadFilter."""
    return _Parser(text.strip()).filter()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._place = 0

    # -- tokens

    @property
    def _here(self) -> _Token:
        return self._tokens[self._place]

    def _next(self) -> _Token:
        token = self._here
        self._place += 1
        return token

    def _takes(self, *values: str) -> str:
        """Step over one of some keywords or signs if it is here, and give it; else nothing."""
        token = self._here
        if token.kind in {"keyword", "sign"} and token.value in values:
            self._place += 1
            return token.value
        return ""

    def _expect(self, value: str) -> None:
        if not self._takes(value):
            self._fail(self._here)

    @staticmethod
    def _fail(token: _Token) -> None:
        near = f" near '{token.value}'" if token.kind not in {"sign", "end"} else ""
        raise BadFilter(f"malformed SQL query: syntax error at position {_BEFORE + token.end + 1}{near}")

    # -- grammar

    def filter(self) -> Filter:
        where = None if self._begins_with_a_clause() else self._either()
        group_by: list[str] = []
        if self._takes("group"):
            self._expect("by")
            group_by.append(self._column(self._next()))
            while self._takes(","):
                group_by.append(self._column(self._next()))
        for word, clause in (("order", "ORDER BY"), ("limit", "LIMIT")):
            if self._takes(word):
                raise BadFilter(f"operation is not supported: '{clause}' clause")
        self._takes(";")
        if self._here.kind != "end":
            self._fail(self._here)
        return Filter(where, tuple(group_by))

    def _begins_with_a_clause(self) -> bool:
        first, second = (self._tokens * 2)[:2]
        return first.kind == "end" or (first.value in {"group", "order"} and second.value == "by")

    def _either(self) -> Expression:
        left = self._both()
        while self._takes("or", "||"):
            left = Joined("or", left, self._both())
        return left

    def _both(self) -> Expression:
        left = self._maybe_not()
        while self._takes("and", "&&"):
            left = Joined("and", left, self._maybe_not())
        return left

    def _maybe_not(self) -> Expression:
        if self._takes("not"):
            return Not(self._maybe_not())
        if self._takes("("):
            inner = self._either()
            self._expect(")")
            return inner
        return self._condition()

    def _condition(self) -> Expression:
        token = self._next()
        if token.kind in {"text", "number"}:
            raise BadFilter("invalid expression: must be a column name but was *sqlparser.SQLVal")
        name = self._column(token)
        if self._takes("is"):
            return self._is_null(name)
        is_not = bool(self._takes("not"))
        if self._takes("between"):
            low = self._value()
            self._expect("and")
            between = Between(name, low, self._value())
            return Not(between) if is_not else between
        if self._takes("in"):
            return Comparison(name, "NOT IN" if is_not else "IN", self._values())
        word = self._takes(*_WORD_COMPARISONS)
        if word:
            return Comparison(name, f"{'NOT ' * is_not}{word.upper()}", self._value())
        sign = "" if is_not else self._takes(*_COMPARISONS)
        if not sign:
            self._stops_early()
        return Comparison(name, "!=" if sign == "<>" else sign, self._value())

    def _stops_early(self) -> None:
        token = self._here
        if token.kind == "end" or token.value in {"and", "or", ")", "&&", "||"}:
            raise BadFilter("invalid expression: incomplete expression")
        if token.kind == "sign" and token.value in "+-*/%":
            raise BadFilter("invalid expression: must be a column name but was *sqlparser.BinaryExpr")
        if token.value == "(":
            raise BadFilter("invalid expression: must be a column name but was *sqlparser.FuncExpr")
        self._fail(token)

    def _is_null(self, name: str) -> Expression:
        is_not = bool(self._takes("not"))
        if self._takes("true", "false"):
            raise BadFilter(
                "invalid expression: 'IS' operator can only be used as 'IS NULL' or 'IS NOT NULL'"
            )
        self._expect("null")
        return Not(IsNull(name)) if is_not else IsNull(name)

    def _column(self, token: _Token) -> str:
        if token.kind != "name":
            self._fail(token)
        return token.value

    def _values(self) -> list[Any]:
        self._expect("(")
        values = [self._value()]
        while self._takes(","):
            values.append(self._value())
        self._expect(")")
        return values

    def _value(self) -> Any:
        sign = self._takes("-", "+")
        token = self._next()
        if token.kind == "number":
            return _number(f"{sign}{token.value}")
        if token.kind == "text" and not sign:
            return token.value
        if token.value in {"true", "false"}:
            return token.value == "true"
        if token.value == "null":
            raise BadFilter("invalid expression: unexpected value type *sqlparser.NullVal")
        if token.kind == "name":
            raise BadFilter(
                "operation is not supported: column name on the right side of comparison expression "
                f'(did you forget to quote "{token.value}"?)'
            )
        self._fail(token)
        return None


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].lstrip()
            known = rest[1:] if rest[:1] in {"'", '"'} else rest[:1]
            raise BadFilter(
                f"malformed SQL query: syntax error at position {_BEFORE + len(text) + 1} near '{known}'"
            )
        kind = match.lastgroup or "end"
        value, place = match[kind], match.end()
        found.append(_token(kind, value, place))
    return found


def _token(kind: str, value: str, end: int) -> _Token:
    if kind == "text":
        quote = value[0]
        return _Token(kind, re.sub(r"\\(.)", r"\1", value[1:-1].replace(quote * 2, quote)), end)
    if kind == "word":
        is_keyword = value.lower() in _RESERVED
        return _Token("keyword", value.lower(), end) if is_keyword else _Token("name", value, end)
    return _Token("name" if kind == "quoted" else kind, value, end)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
