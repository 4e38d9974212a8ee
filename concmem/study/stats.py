"""
Statistics over several runs: an interval for their median, and the memory of one task and of the runtime without tasks.

All functions are deterministic: the same runs give the same intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ENOUGH_RUNS", "WIDE_SPREAD", "Cost", "cost", "median_interval", "ratio_interval"]

ENOUGH_RUNS = 5
"""A figure of fewer successful runs is marked as one that should not be published."""
WIDE_SPREAD = 0.1
"""A range of more than this part of the median gets a remark."""

_CONFIDENCE = 0.95
_RESAMPLES = 10_000
# Student's t, two-sided 95 %, by degrees of freedom; with more of them the normal distribution is used.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.96


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """
    Return the interval that holds the median of many runs with 95 % confidence, by the percentile bootstrap.

    Args:
        values: One value of each run, in any unit.

    Returns:
        The ends, or None with fewer than two values. With few values the interval is nearly the range, and holds the
        true median less often than stated: with 15 values in 9 cases of 10.
    """
    if len(values) < 2:
        return None
    import numpy as np

    return _middle(_medians(values, np.random.default_rng(0)))


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> tuple[float, float] | None:
    """
    Return the interval that holds the ratio of two medians with 95 % confidence; each side is resampled separately.

    Args:
        over: The dividend: one value of each run, all above 0.
        under: The divisor, likewise; the numbers of runs may differ.

    Returns:
        The ends, or None with fewer than two values on either side. With few values see `median_interval`.
    """
    if len(over) < 2 or len(under) < 2:
        return None
    import numpy as np

    generator = np.random.default_rng(0)
    return _middle(_medians(over, generator) / _medians(under, generator))


def _medians(values: Sequence[float], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the medians of `_RESAMPLES` samples drawn from `values`, each as large as `values`."""
    import numpy as np

    samples = generator.choice(np.asarray(values, dtype=float), size=(_RESAMPLES, len(values)))
    medians: NDArray[np.float64] = np.median(samples, axis=1)
    return medians


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends between which the middle `_CONFIDENCE` of the values lies."""
    import numpy as np

    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


@attrs.frozen
class Cost:
    """
    A program's memory as a line over the number of tasks: a floor, and an amount for each task.

    The line minimizes the squares of the *relative* deviations, so that a cell with one task counts as much as one with
    a million. The 95 % intervals come from the distance of the cells from the line. They are wide where memory does not
    grow in proportion (lists double, collectors wait). The floor is kept between 0 and the figure of the cell with the
    fewest tasks; if it is at such a bound, the line is the nearest one with that floor.

    Attributes:
        floor_bytes: The memory without any task.
        floor_low_bytes, floor_high_bytes: Its interval; None with two cells, which every line fits.
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


def cost(medians: Mapping[int, int]) -> Cost | None:
    """
    Fit a line through a program's cells.

    Args:
        medians: The median of each cell in bytes, by its number of tasks.

    Returns:
        The line, or None with fewer than two cells.
    """
    if len(medians) < 2:
        return None
    import numpy as np

    counts = sorted(medians)
    tasks = np.array(counts, dtype=float)
    needed = np.array([medians[n] for n in counts], dtype=float)
    design = np.stack([np.ones_like(tasks), tasks], axis=1) / needed[:, None]
    (floor, each), *_ = np.linalg.lstsq(design, np.ones_like(tasks), rcond=None)
    most = float(needed[0])
    if not 0 <= floor <= most:
        floor = min(max(float(floor), 0.0), most)
        # The slope of the nearest line that begins at this floor.
        slopes = design[:, 1]
        each = float(slopes @ (1 - floor * design[:, 0]) / (slopes @ slopes))
    deviations = design @ (floor, each) - 1
    half: list[float] | None = None
    if freedom := len(counts) - 2:
        covariance = np.linalg.inv(design.T @ design) * float(deviations @ deviations) / freedom
        width = _T[freedom - 1] if freedom <= len(_T) else _NORMAL
        half = [width * float(variance) ** 0.5 for variance in np.diag(covariance)]
    worst = int(np.abs(deviations).argmax())
    return Cost(
        floor_bytes=float(floor),
        floor_low_bytes=None if half is None else max(0.0, float(floor) - half[0]),
        floor_high_bytes=None if half is None else float(floor) + half[0],
        each_bytes=float(each),
        each_low_bytes=None if half is None else max(0.0, float(each) - half[1]),
        each_high_bytes=None if half is None else float(each) + half[1],
        tasks=tuple(counts),
        worst=float(abs(deviations[worst])),
        worst_tasks=counts[worst],
    )
