"""
What several runs say together: an interval for their median, and what one task costs beside the runtime's floor.

Everything is deterministic: the same runs give the same intervals.
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
"""With fewer good runs than these a figure is not one to publish."""
WIDE_SPREAD = 0.1
"""A range of more than this part of the median is worth a remark."""

_CONFIDENCE = 0.95
_RESAMPLES = 10_000
# Student's t, two-sided 95 %, by degrees of freedom; beyond them the normal distribution's is near enough.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.96


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """
    Where the median of many runs would lie, with 95 % confidence, by the percentile bootstrap.

    Args:
        values: One of each run; the unit is theirs.

    Returns:
        The ends, or None with fewer than two values. With few values they are nearly the range, and hold the truth
        somewhat less often than stated: of 15 values in 9 cases of 10.
    """
    if len(values) < 2:
        return None
    import numpy as np

    return _middle(_medians(values, np.random.default_rng(0)))


def ratio_interval(over: Sequence[float], under: Sequence[float]) -> tuple[float, float] | None:
    """
    Where the ratio of the medians of many runs would lie, with 95 % confidence: both sides resampled by themselves.

    Args:
        over: One value of each run, all above 0.
        under: Likewise, of the other side; there may be more or fewer.

    Returns:
        The ends, or None with fewer than two values on either side. What `median_interval` says of few values holds.
    """
    if len(over) < 2 or len(under) < 2:
        return None
    import numpy as np

    generator = np.random.default_rng(0)
    return _middle(_medians(over, generator) / _medians(under, generator))


def _medians(values: Sequence[float], generator: np.random.Generator) -> NDArray[np.float64]:
    """The medians of so many samples as large as that of `values`, drawn from it, shape (_RESAMPLES,)."""
    import numpy as np

    drawn = generator.choice(np.asarray(values, dtype=float), size=(_RESAMPLES, len(values)))
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians


def _middle(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Between which ends `_CONFIDENCE` of them lie."""
    import numpy as np

    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


@attrs.frozen
class Cost:
    """
    A program's memory as a line over the number of tasks: a floor, and so much for each task.

    The line is that of least squares of the *relative* deviations, so that a cell with one task counts as much as one
    with a million. Its intervals are those of 95 % confidence, from how far the cells stray from the line; they are
    wide where memory does not grow in proportion (lists double, collectors wait). No amount of memory is below 0, and
    a floor is not above what the cell with the fewest tasks needed: within these bounds the line is the nearest.

    Attributes:
        floor_bytes: What it would need with no task.
        floor_low_bytes, floor_high_bytes: The interval; None with two cells, through which a line always fits.
        each_bytes: What a task adds.
        each_low_bytes, each_high_bytes: The interval, likewise.
        tasks: The numbers of tasks of the cells.
        worst: The largest relative deviation of a cell from the line, as a part of the cell's figure.
        worst_tasks: The cell with that.
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
    What a program's cells say of its floor and of a task.

    Args:
        medians: Bytes by number of tasks.

    Returns:
        None with fewer than two cells.
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
        # The slope of the line that is nearest to the cells of all that begin there.
        slopes = design[:, 1]
        each = float(slopes @ (1 - floor * design[:, 0]) / (slopes @ slopes))
    off = design @ (floor, each) - 1
    half: list[float] | None = None
    if freedom := len(counts) - 2:
        covariance = np.linalg.inv(design.T @ design) * float(off @ off) / freedom
        width = _T[freedom - 1] if freedom <= len(_T) else _NORMAL
        half = [width * float(variance) ** 0.5 for variance in np.diag(covariance)]
    worst = int(np.abs(off).argmax())
    return Cost(
        floor_bytes=float(floor),
        floor_low_bytes=None if half is None else max(0.0, float(floor) - half[0]),
        floor_high_bytes=None if half is None else float(floor) + half[0],
        each_bytes=float(each),
        each_low_bytes=None if half is None else max(0.0, float(each) - half[1]),
        each_high_bytes=None if half is None else float(each) + half[1],
        tasks=tuple(counts),
        worst=float(abs(off[worst])),
        worst_tasks=counts[worst],
    )
