"""Paper: where a report is printed, and what that place can show.

A terminal that can gets colours; a file or a pipe gets the same text plain. Where the encoding has no room
for arrows and check marks, ASCII stands in for them. rich is imported when the first report is printed.
"""

from __future__ import annotations

import os
from io import StringIO
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

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
        safe = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split("\n")))
        return Text(safe.translate(_IN_ASCII) if self.ascii else safe, style=style)

    def print(self, *parts: RenderableType, indent: int = 0) -> None:
        """Print each part on a line of its own, wrapped if it is too long; without parts, an empty line."""
        for part in parts or (Text(""),):
            self._put(Padding(part, (0, 0, 0, indent)) if indent else part)

    def _put(self, part: RenderableType) -> None:
        if self.console.is_terminal:
            self.console.print(part)
            return
        with self.console.capture() as caught:
            self.console.print(part)
        self.stream.writelines(f"{line.rstrip()}\n" for line in caught.get().splitlines())

    def table(self, rows: Iterable[Sequence[RenderableType]], columns: Sequence[tuple[str, str]]) -> None:
        """Print rows under dim headings. A column is (heading, "left" | "right" | "fill"); "fill" wraps."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.show_header = any(heading for heading, _ in columns)
        for heading, how in columns:
            table.add_column(
                self.words(heading),
                justify="right" if how == "right" else "left",
                no_wrap=how != "fill",
                overflow="fold" if how == "fill" else "ellipsis",
                ratio=1 if how == "fill" else None,
            )
        for row in rows:
            table.add_row(*row)
        self._put(table)


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
