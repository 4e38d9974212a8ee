"""The texts at a program's bar."""

from __future__ import annotations

import re
import textwrap

from concmem.report.sentences import number_of
from concmem.study import Row
from concmem.units import format_bytes

__all__ = ["REASON_LINES", "cut", "instead", "label"]

REASON_LINES = 3


def instead(row: Row, columns: int, largest: Row | None = None) -> str:
    """
    Return the text in place of a bar: why there is no figure.

    Args:
        row: A row without a figure.
        columns: The length of the longest line; there are at most `REASON_LINES` lines.
        largest: The row of the largest number of tasks that the program ran with, if that was searched for.
    """
    text = f"not run: {row.reason}" if row.status == "not run" else row.reason
    if largest is not None and largest.median_bytes is not None:
        text = f"{number_of(largest.tasks)} ran, with {format_bytes(largest.median_bytes)}; {text}"
    text = _with_numbers_kept(text)
    lines = textwrap.wrap(text, columns)
    if len(lines) > REASON_LINES:
        # A shortened reason still names the limit that was reached.
        kept = f"; {_with_numbers_kept(row.reason_limit)}" if 0 < len(row.reason_limit) <= columns // 2 else ""
        placeholder = f" ...{kept} (see the table)"
        return "\n".join(textwrap.wrap(text, columns, max_lines=REASON_LINES, placeholder=placeholder))
    # The least width with the same number of lines gives lines of similar length.
    widths = range(max(map(len, text.split(" "))), columns)
    balanced = (textwrap.wrap(text, width) for width in widths)
    return "\n".join(next((shorter for shorter in balanced if len(shorter) == len(lines)), lines))


def _with_numbers_kept(text: str) -> str:
    """Return a text whose numbers stay together with the word before them and their unit, by no-break spaces."""
    return re.sub(r"(?<!;) (?=\d)|(?<=\d) (?=[KMGTP]?i?B\b)", "\u00a0", text)


def label(row: Row, planned_sleep_s: float) -> str:
    """Return the text at the end of a bar."""
    remarks = [format_bytes(row.median_bytes or 0)]
    if row.sleep_s > planned_sleep_s:
        remarks.append(f"slept {row.sleep_s:g} s")
    if row.status == "partly":
        remarks.append(f"{row.figure_runs} of {row.runs} runs")
    if row.is_busy:
        remarks.append("machine busy")
    return ", ".join(remarks)


def cut(text: str, columns: int = 48) -> str:
    """Shorten a text to at most so many columns."""
    return text if len(text) <= columns else f"{text[: columns - 3].rstrip(' ,')}..."
