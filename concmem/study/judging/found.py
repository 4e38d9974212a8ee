"""What a judge found, as text: amounts of programs, alone or compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from concmem.study.judging.verdicts import Cells, Key, median
from concmem.study.results.row import Row
from concmem.units import format_bytes, format_count

__all__ = ["Side", "amounts", "amounts_compared", "amounts_of_side", "both_sides"]

_NO_FIGURE = "no figure"
_SHOWN = 4
"""Up to this number of programs on one side of a comparison are all shown."""


def amounts(rows: Iterable[Row]) -> str:
    """Return the title of each program with its median."""
    return ", ".join(f"{row.title} {format_bytes(median(row))}" for row in rows) or _NO_FIGURE


@attrs.frozen
class Side:
    """
    One side of a comparison.

    Attributes:
        text: Its amounts, or for which programs there is none.
        has_figure: Whether it has an amount.
    """

    text: str
    has_figure: bool = True


def amounts_of_side(cells: Cells, keys: Sequence[Key], outermost: str, nearest: int) -> Side:
    """Return the amounts on one side of a comparison; with many programs, only the one nearest to the other side."""
    rows = cells.good(*keys)
    if not rows:
        programs = [program for program, _ in keys]
        names = ", ".join(programs) if len(keys) <= _SHOWN else f"the other {len(keys)}"
        return Side(f"{_NO_FIGURE} for {names}", has_figure=False)
    if len(rows) <= _SHOWN:
        return Side(amounts(rows))
    return Side(f"the {outermost} of the other {len(rows)}: {amounts([rows[nearest]])}")


def both_sides(one: Side, other: Side) -> str:
    """Join the two sides of a comparison."""
    return f"{one.text}; {other.text}" if one.has_figure or other.has_figure else _NO_FIGURE


def amounts_compared(cells: Cells, *keys: Key) -> str:
    """Return the amount of each cell and, with two cells, the ratio of the first to the second."""
    rows = [row for key in keys for row in cells.good(key)]
    sizes = len({tasks for _, tasks in keys}) > 1
    parts = [amounts([row]) + (f" with {format_count(row.tasks)}" if sizes else "") for row in rows]
    ratio = f": {median(rows[0]) / median(rows[1]):.3g} times" if len(rows) == 2 else ""
    return (", ".join(parts) or _NO_FIGURE) + ratio
