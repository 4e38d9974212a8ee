"""
Lay out a report: wrap words, align columns, and make text bold on a terminal.

The lines are those that Rich makes of the same texts (a test compares both). Importing Rich takes longer than all the
rest of a short ``concmem run``, so only a text with characters of another width than one asks it for their widths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TextIO

from concmem._escaping import escape_text

__all__ = ["Layout", "table_lines", "wrap"]

_WORD = re.compile(r"\s*\S+\s*")
_GAP = 2
"""Spaces between two columns."""
_WIDTH = 80
"""The width where no terminal says its own."""


def _cells(text: str) -> int:
    """Return how many character cells of a terminal a text takes."""
    if all(c < "\u0300" or "\u2500" <= c < "\u25a0" for c in text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _chop(word: str, width: int) -> list[str]:
    """Cut a word that is wider than `width`."""
    if _cells(word) == len(word):
        return [word[i : i + width] for i in range(0, len(word), width)]
    from rich.cells import chop_cells

    return chop_cells(word, width)


def _cut(text: str, width: int, end: str = "") -> str:
    """Return a text that is at most `width` wide; `end` replaces the rest of a longer one."""
    if _cells(text) <= width:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, max(0, width - len(end))) + end[:width]


def _breaks(line: str, width: int) -> Iterator[int]:
    """Yield where a line must be broken."""
    column = 0
    for match in _WORD.finditer(line):
        start, word = match.start(), match[0]
        wide = _cells(word.rstrip())
        if wide <= width - column:
            column += _cells(word)
        elif wide > width:
            *pieces, last = _chop(word, width)
            for piece in pieces:
                if start:
                    yield start
                start += len(piece)
            if start:
                yield start
            column = _cells(last)
        elif column and start:
            yield start
            column = _cells(word)


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of a text, none wider than `width`. Words that are longer are cut."""
    lines = []
    for line in text.expandtabs().split("\n"):
        begins = [0, *_breaks(line, width)]
        lines += [line[begin:end].rstrip() for begin, end in zip(begins, [*begins[1:], len(line)], strict=True)]
    return lines


def _column_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the width of each column with its gap. The last one shrinks first, then all together."""
    *others, last = (max(map(_cells, column)) for column in zip(*rows, strict=True))
    widths = [min(width, each + _GAP) for each in others] + [min(width, last)]
    excess = sum(widths) - width
    if excess > 0:
        widths[-1], excess = max(0, widths[-1] - excess), excess - widths[-1]
    if excess > 0:
        shrunk = []
        for i, each in enumerate(widths):
            rest = sum(1 for other in widths[i:] if other)
            part = min(each, round(excess / rest)) if each else 0
            excess -= part
            shrunk.append(each - part)
        return shrunk
    return widths


def table_lines(
    rows: Sequence[Sequence[str]], width: int, *, right: Sequence[int] = (), has_titles: bool = False
) -> list[list[str]]:
    """
    Return the lines of each row of a table. The texts of the last column are wrapped, the others cut if need be.

    Args:
        rows: Its rows, each with a text for each column.
        width: The width of the table at most.
        right: The columns in which texts are aligned to the right.
        has_titles: Whether the first row has the titles of the columns.
    """
    widths = _column_widths(rows, width)
    table: list[list[str]] = []
    for row in rows:
        line = ""
        for i, (text, wide) in enumerate(zip(row[:-1], widths, strict=False)):
            room = max(0, wide - _GAP)
            shown = _cut(text, room, "\u2026")
            space = " " * (room - _cells(shown))
            line += (f"{space}{shown}" if i in right else f"{shown}{space}") + " " * min(_GAP, wide)
        last = wrap(row[-1], widths[-1]) if widths[-1] else [""]
        margins = [line] + [" " * sum(widths[:-1])] * (len(last) - 1)
        if has_titles and not table:
            margins.reverse()  # the titles stand above the first row
        table.append([margin + each for margin, each in zip(margins, last, strict=True)])
    return table


class Layout:
    """
    The lines of a report for a stream.

    Attributes:
        width: The width of the lines at most.
        ascii_only: Whether the stream takes ASCII only.
    """

    def __init__(self, stream: TextIO, widest: int) -> None:
        is_terminal = _is_terminal(stream)
        is_dumb = is_terminal and os.environ.get("TERM", "").lower() in ("dumb", "unknown")
        self.width = min(_terminal_width(() if is_dumb else (0, 1, 2)), widest)
        self.ascii_only = not (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
        self._is_bold = is_terminal and not is_dumb
        self._lines: list[str] = []

    def text(self, text: str = "", *, bold: bool = False) -> None:
        """Add a text, wrapped; without one an empty line."""
        self._add(wrap(_shown(text), self.width), bold)

    def cut(self, text: str, width: int) -> str:
        """Return a text escaped and at most `width` wide."""
        return _cut(_shown(text), width)

    def line(self, line: str) -> None:
        """Add a line, which is cut if it is too wide."""
        self._add([_cut(_shown(line), self.width)], bold=False)

    def table(
        self,
        rows: Sequence[Sequence[str]],
        *,
        right: Sequence[int] = (),
        has_titles: bool = False,
        bold: Sequence[str] = (),
    ) -> None:
        """Add a table: see `table_lines`. Titles are bold, and rows whose first text is in `bold`."""
        shown = [tuple(map(_shown, row)) for row in rows]
        table = table_lines(shown, self.width, right=right, has_titles=has_titles)
        for number, lines in enumerate(table):
            self._add(lines, (has_titles and number == 0) or rows[number][0] in bold)

    def _add(self, lines: Sequence[str], bold: bool) -> None:
        for line in map(str.rstrip, lines):
            self._lines.append(f"\x1b[1m{line}\x1b[0m" if line and bold and self._is_bold else line)

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _shown(text: str) -> str:
    """Escape a text, except newlines and tabs, which concmem itself put there: text from outside was escaped before."""
    return escape_text(text, keep="\n\t")


def _is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is a terminal, or is declared to be one by TTY_COMPATIBLE or FORCE_COLOR."""
    compatible, forced = os.environ.get("TTY_COMPATIBLE", ""), os.environ.get("FORCE_COLOR")
    if compatible in ("0", "1"):
        return compatible == "1"
    return stream.isatty() if forced is None else forced != ""


def _terminal_width(fds: Sequence[int]) -> int:
    """Return the number in COLUMNS, else the width of the first of these descriptors that is a terminal, else 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        return int(columns) or _WIDTH
    for fd in fds:
        try:
            return os.get_terminal_size(fd).columns or _WIDTH
        except (ValueError, OSError):
            continue
    return _WIDTH
