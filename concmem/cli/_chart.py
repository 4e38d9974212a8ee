"""Draw a curve in a terminal with block characters, or with ASCII where the terminal has nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concmem.units import format_bytes, format_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["area_chart", "column_maxima"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:#"


def column_maxima(t_s: NDArray[np.float64], amounts: NDArray[Any], end_s: float, columns: int) -> NDArray[np.float64]:
    """
    Return the largest amount in each of `columns` equal parts of the time from 0 to `end_s`.

    A part without a reading repeats the part before it. Parts before the first reading are 0.

    Args:
        t_s: The time of each reading in seconds, ascending.
        amounts: The readings, one for each time.
        end_s: The end of the last part.
        columns: The number of parts.
    """
    import numpy as np

    maxima = np.full(columns, np.nan)
    part = np.clip((np.asarray(t_s) / max(end_s, 1e-9) * columns).astype(int), 0, columns - 1)
    np.fmax.at(maxima, part, np.asarray(amounts, dtype=float))
    filled = np.maximum.accumulate(np.where(np.isnan(maxima), -1, np.arange(columns)))
    return np.where(filled < 0, 0.0, maxima[np.maximum(filled, 0)])


def area_chart(
    t_s: NDArray[np.float64], amounts: NDArray[Any], end_s: float, *, width: int, height: int = 6, ascii_only: bool
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
    top = float(amounts.max())
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
