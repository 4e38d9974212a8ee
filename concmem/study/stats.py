"""Statistics of a study: how many runs are enough, and the memory of one task and of the runtime without tasks."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from concmem.comparison.line import fit_line

__all__ = ["ENOUGH_RUNS", "WIDE_SPREAD", "Cost", "cost"]

ENOUGH_RUNS = 5
"""A figure of fewer successful runs is marked as one that should not be published."""
WIDE_SPREAD = 0.1
"""A range of more than this part of the median gets a remark."""


@attrs.frozen
class Cost:
    """
    A program's memory as a line over the number of tasks: a floor, and an amount for each task.

    The line is that of `concmem.comparison.line.fit_line`. The floor is kept between 0 and the figure of the cell with
    the fewest tasks.

    Attributes:
        floor_bytes: The memory without any task.
        floor_low_bytes, floor_high_bytes: Its interval, with 95 % confidence and the error of the figures; None with
            two cells, which every line fits.
        each_bytes: The memory that a task adds.
        each_low_bytes, each_high_bytes: Its interval, likewise.
        tasks: The numbers of tasks of the cells.
        worst: The largest relative deviation of a cell from the line, as a part of the cell's figure.
        worst_tasks: The number of tasks of that cell.
    """

    floor_bytes: float
    floor_low_bytes: float | None
    floor_high_bytes: float | None
    each_bytes: float
    each_low_bytes: float | None
    each_high_bytes: float | None
    tasks: tuple[int, ...]
    worst: float
    worst_tasks: int


def cost(medians: Mapping[int, int], errors: Mapping[int, int] | None = None) -> Cost | None:
    """
    Fit a line through a program's cells.

    Args:
        medians: The median of each cell in bytes, by its number of tasks.
        errors: By how much the truth may differ from each median, in bytes.

    Returns:
        The line, or None with fewer than two cells.
    """
    line = fit_line({n: medians[n] for n in medians}, None if errors is None else {n: errors[n] for n in errors})
    if line is None:
        return None
    return Cost(
        line.floor,
        line.floor_low,
        line.floor_high,
        line.each,
        line.each_low,
        line.each_high,
        tuple(map(int, line.units)),
        line.worst,
        int(line.worst_units),
    )
