"""Draw a curve in a terminal with block characters, or with ASCII where the terminal has nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from concmem.units import format_bytes, format_seconds

__all__ = ["area_chart", "column_maxima"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:#"


def column_maxima(t_s: Sequence[float], amounts: Sequence[float], end_s: float, columns: int) -> list[float]:
    """
    Return the largest amount in each of `columns` equal parts of the time from 0 to `end_s`.

    A part without a reading repeats the part before it. Parts before the first reading are 0.

    Args:
        t_s: The time of each reading in seconds, ascending.
        amounts: The readings, one for each time.
        end_s: The end of the last part.
        columns: The number of parts.
    """
    largest: dict[int, float] = {}
    end_s = max(end_s, 1e-9)
    for at_s, amount in zip(t_s, amounts, strict=True):
        part = min(max(int(at_s / end_s * columns), 0), columns - 1)
        if amount > largest.get(part, -1):
            largest[part] = amount
    maxima: list[float] = []
    last = 0.0
    for part in range(columns):
        last = largest.get(part, last)
        maxima.append(last)
    return maxima


def area_chart(
    t_s: Sequence[float], amounts: Sequence[float], end_s: float, *, width: int, height: int = 6, ascii_only: bool
) -> list[str]:
    """
    Return the lines of a filled curve with its two axes, none wider than `width`.

    Args:
        t_s: The time of each reading in seconds, ascending.
        amounts: The readings in bytes, one for each time.
        end_s: The end of the time axis.
        width: The width of the terminal, in characters.
        height: The number of lines of the curve itself.
        ascii_only: Whether the terminal shows ASCII only.
    """
    steps = _ASCII if ascii_only else _BLOCKS
    top = float(max(amounts))
    labels = [format_bytes(top * (height - line) / height) if line % 2 == 0 else "" for line in range(height)]
    margin = max(map(len, labels))
    columns = max(10, width - margin - 2)
    # A column that is not 0 shows at least the lowest step.
    scale = height * (len(steps) - 1) / top if top else 0.0
    eighths = [max(1, round(a * scale)) if a else 0 for a in column_maxima(t_s, amounts, end_s, columns)]
    bar, corner, dash = ("|", "+", "-") if ascii_only else ("┤", "└", "─")
    lines = []
    for line, label in enumerate(labels):
        below = (height - line - 1) * (len(steps) - 1)
        cells = "".join(steps[min(max(e - below, 0), len(steps) - 1)] for e in eighths)
        lines.append(f"{label:>{margin}} {bar}{cells}".rstrip())
    start, end = "0 s", format_seconds(end_s)
    lines.append(f"{'0':>{margin}} {corner}{dash * columns}")
    lines.append(f"{'':>{margin}}  {start}{end:>{columns - len(start)}}")
    return lines
