"""Paper: where a report is printed, and what that place can show.

A terminal that can gets colours; a file or a pipe gets the same text plain. Where the encoding has no room
for arrows and check marks, ASCII stands in for them. rich is imported when the first report is printed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GAP: Final = 2
_NARROWEST: Final = 40
_WIDEST: Final = 140
_WIDTH_OF_A_FILE: Final = 100
_IN_ASCII: Final = str.maketrans(
    {"↯": "!", "✗": "X", "✓": "+", "←": "<-", "…": "...", "—": "-", "µ": "u", "→": "->"}
)


class Paper:
    """A stream to print on, with its width and its letters.

    ``width`` in columns is found out if it is not given: the terminal's, or 100 where there is none.
    """

    def __init__(self, stream: TextIO, *, width: int | None = None, color: bool | None = None) -> None:
        self.stream = stream
        self.ascii = not _speaks_unicode(stream)
        self.console = Console(
            file=stream,
            width=_width(stream, width),
            force_terminal=color,
            no_color=True if color is False else None,
            markup=False,
            highlight=False,
            emoji=False,
            soft_wrap=False,
            legacy_windows=False,
        )

    @classmethod
    def sheet(cls, width: int = _WIDTH_OF_A_FILE) -> Paper:
        """Give plain paper that keeps its text: read it with :meth:`text`."""
        return cls(StringIO(), width=width, color=False)

    def text(self) -> str:
        """Give what was printed on a plain sheet."""
        return self.stream.getvalue() if isinstance(self.stream, StringIO) else ""

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.console.width

    def words(self, text: str, style: str = "") -> Text:
        """Make a text that this paper can show; control characters of user data do not reach the terminal."""
        safe = text if text.isprintable() else _printable(text)
        shown = safe.translate(_IN_ASCII) if self.ascii else safe
        return Text().append(shown, style=style or None)  # these words alone, not what is appended to them

    def print(self, text: Text | None = None, *, indent: int = 0) -> None:
        """Print a text on lines of its own, wrapped and indented; without one, an empty line."""
        margin = Text(" " * indent)
        self._put([margin + line for line in self._wrapped(text or Text(), self.width - indent)])

    def table(self, rows: Iterable[Row], columns: Sequence[Column]) -> None:
        """Print rows under dim headings; the last column takes the room that is left, and wraps.

        A row without cells is an empty line. A cell that would take more than a third of the page is cut.
        """
        rows = list(rows)
        heads = [self.words(column.heading, "dim") for column in columns]
        widths = [
            min(max(cell.cell_len for cell in cells), self.width // 3)
            for cells in zip(heads, *(row.cells for row in rows if row.cells), strict=True)
        ][:-1]
        room = max(_NARROWEST // 2, self.width - sum(width + _GAP for width in widths))
        if any(column.heading for column in columns):
            rows.insert(0, Row(heads))
        self._put([line for row in rows for line in self._laid_out(row, columns, widths, room)])

    def _laid_out(
        self, row: Row, columns: Sequence[Column], widths: Sequence[int], room: int
    ) -> Iterable[Text]:
        if not row.cells:
            yield Text()
            return
        left = Text()
        for cell, column, width in zip(row.cells, columns, widths, strict=False):
            cell.truncate(width, overflow="ellipsis" if not self.ascii else "crop")
            space = " " * (width - cell.cell_len)
            left.append(space if column.right else "").append_text(cell)
            left.append(" " * _GAP if column.right else space + " " * _GAP)
        for number, line in enumerate(self._wrapped(row.cells[-1], room - row.indent)):
            yield (left if not number else Text(" " * left.cell_len)) + Text(" " * row.indent) + line

    def _wrapped(self, text: Text, width: int) -> Iterable[Text]:
        return [text] if text.cell_len <= width else text.wrap(self.console, width)

    def _put(self, lines: Sequence[Text]) -> None:
        """Put lines that fit on the paper, all at once: a long timeline has tens of thousands."""
        if self.console.is_terminal:
            for line in lines:
                line.rstrip()
            self.console.print(Text("\n").join(lines), soft_wrap=True)
        else:
            self.stream.writelines(f"{line.plain.rstrip()}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and whether its cells stand to the right."""

    heading: str = ""
    right: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; ``indent`` moves its last cell to the right, also where it wraps."""

    cells: list[Text] = field(default_factory=list)
    indent: int = 0


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text.replace("\n", " "))


def _width(stream: TextIO, wanted: int | None) -> int:
    if wanted is None:
        try:
            wanted = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError, AttributeError):
            wanted = _columns_of_environment()
    return max(_NARROWEST, min(wanted or _WIDTH_OF_A_FILE, _WIDEST))


def _columns_of_environment() -> int:
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdigit() else 0


def _speaks_unicode(stream: TextIO) -> bool:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return encoding.lower().replace("-", "").replace("_", "") in {"utf8", "utf16", "utf32", "utf8sig"}
