"""Print a comparison: table, outcome, bars with whiskers, and notes."""

from __future__ import annotations

import time
from typing import TextIO

from concmem.cli._layout import Layout
from concmem.comparison import Comparison, Step
from concmem.comparison.result import CommandResult
from concmem.report.tables.commands import COLUMNS, ahead, below, cells, findings
from concmem.units import format_rough_time

__all__ = ["ProgressLine", "bar_lines", "comparison_text"]

_WIDEST = 140
_LONGEST_NAMES = 15, 30
"""Longer names are replaced by numbers, in a narrow and in a wide terminal."""
_WIDE = 108
"""From this width on, the table has the times; below, the bars have them."""
_GAP = "  "


def comparison_text(comparison: Comparison, stream: TextIO) -> str:
    """Return a comparison as text, with the width, styles and characters of `stream`, to which nothing is written."""
    layout = Layout(stream, _WIDEST)
    timed = layout.width >= _WIDE
    names = _names(comparison, _LONGEST_NAMES[timed])
    several = len(comparison.results) > 1
    if names != {each.name: each.name for each in comparison}:
        layout.table([(f"[{number}]", name) for name, number in names.items()])
        layout.text()
    layout.text(f"{ahead(comparison)[0].upper()}{ahead(comparison)[1:]}")
    layout.text()
    kept = [i for i, name in enumerate(COLUMNS) if (several or name != "ratio") and (timed or name not in _TIMES)]
    rows = [("command", *(COLUMNS[i] for i in kept))]
    for each in comparison:
        texts = cells(comparison, each)
        rows.append((names[each.name], *(texts[i] for i in kept)))
    layout.table(rows, right=range(1, len(kept)), has_titles=True)
    layout.text()
    for line in bar_lines(comparison, names, layout.width, layout.ascii_only, timed=not timed):
        layout.line(line)
    layout.text()
    for line in findings(comparison):
        layout.text(line, bold=True)
    if findings(comparison):
        layout.text()
    for line in below(comparison):
        layout.text(line)
    return str(layout)


_TIMES = ("time", "CPU")


def _names(comparison: Comparison, longest: int) -> dict[str, str]:
    """Return what the table calls each command: its name, or a number if a name is too long for the table."""
    names = [each.name for each in comparison]
    if max(map(len, names)) <= longest:
        return {name: name for name in names}
    return {name: str(i + 1) for i, name in enumerate(names)}


def bar_lines(comparison: Comparison, names: dict[str, str], width: int, ascii_only: bool, *, timed: bool) -> list[str]:
    """
    Return a line for each command: a bar as long as its median, with a whisker over the range of its runs.

    Args:
        comparison: The comparison.
        names: What each command is called.
        width: The width of the lines.
        ascii_only: Use ASCII characters only.
        timed: Put time and CPU time behind the bars.
    """
    good = [each for each in comparison if each.good]
    if not good:
        return []
    tails = {each.name: _tail(comparison, each, timed) for each in good}
    wide = max(len(names[each.name]) for each in good)
    room = max(10, width - wide - max(map(len, tails.values())) - 2 * len(_GAP))
    top = max(max(each.sample.values) for each in good) or 1
    lines = []
    for each in good:
        bar = _bar(each, top, room, ascii_only)
        lines.append(f"{names[each.name]:<{wide}}{_GAP}{bar:<{room}}{_GAP}{tails[each.name]}")
    return lines


def _tail(comparison: Comparison, result: CommandResult, timed: bool) -> str:
    texts = dict(zip(COLUMNS, cells(comparison, result), strict=True))
    amount = f"{texts['median']:>8}"
    return f"{amount}{_GAP}{texts['time']}, CPU {texts['CPU']}" if timed else amount


def _bar(result: CommandResult, top: float, room: int, ascii_only: bool) -> str:
    """Return a bar up to the median. Where the runs differ by more than a cell, a whisker shows their range."""
    values = result.sample.values
    low, middle, high = (round(value / top * (room - 1)) for value in (min(values), result.sample.median, max(values)))
    fill, line, left, right, mark = "=-||+" if ascii_only else "█─├┤┼"
    cells = [fill if i <= middle else " " for i in range(room)]
    if high > low:
        cells[low : high + 1] = [left, *[line] * (high - low - 1), right]
        if low < middle < high:
            cells[middle] = mark
    return "".join(cells).rstrip()


class ProgressLine:
    """
    One line on a terminal that says which run is made and about how long the rest takes. Elsewhere it prints nothing.

    Args:
        stream: The stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._layout = Layout(stream, _WIDEST)
        self._shows = stream.isatty()
        self._last_s = 0.0

    def __call__(self, step: Step) -> None:
        """Show a step; an earlier one is replaced. At the end the line is removed."""
        if not self._shows:
            return
        if not step.name:
            self.clear()
            return
        left = "" if step.left_s is None else f", about {format_rough_time(step.left_s)} left"
        text = f"run {step.done + 1} of {step.total}{left}: {step.name}"
        now_s = time.monotonic()
        if now_s - self._last_s < 0.05 and step.done:
            return
        self._last_s = now_s
        self._write(f"\r{self._layout.cut(text, self._layout.width - 1)}\x1b[K")

    def clear(self) -> None:
        """Remove the line."""
        if self._shows:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._shows = False
