"""A straight line through figures: the memory without any unit, and the memory that each unit adds."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Line", "fit_line"]

# Student's t, two-sided 95 %, by degrees of freedom; with more of them the normal distribution is used.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.96


@attrs.frozen
class Line:
    """
    A line through figures over a number of units, such as tasks.

    The line minimizes the squares of the *relative* deviations, so that a small figure counts as much as a large one.
    The 95 % intervals come from the distance of the figures from the line, and contain the error of the figures. They
    are wide where the amount does not grow in proportion (lists double, collectors wait).

    Attributes:
        floor: The amount without any unit.
        floor_low, floor_high: Its interval; None with two figures, which every line fits.
        each: The amount that a unit adds.
        each_low, each_high: Its interval, likewise.
        units: The numbers of units, ascending.
        worst: The largest relative deviation of a figure from the line, as a part of the figure.
        worst_units: The number of units of that figure.
    """

    floor: float
    floor_low: float | None
    floor_high: float | None
    each: float
    each_low: float | None
    each_high: float | None
    units: tuple[float, ...]
    worst: float
    worst_units: float


def fit_line(
    amounts: Mapping[float, float], errors: Mapping[float, float] | None = None, *, bounded: bool = True
) -> Line | None:
    """
    Fit a line through figures.

    Args:
        amounts: The figures, all above 0, by their number of units.
        errors: By how much the truth may differ from each figure; without it not at all.
        bounded: Keep the floor between 0 and the figure with the fewest units, and the ends of both intervals at 0 or
            above. If the floor is at such a bound, the line is the nearest one with that floor.

    Returns:
        The line, or None with fewer than two figures.
    """
    if len(amounts) < 2:
        return None
    import numpy as np

    units = sorted(amounts)
    needed = np.array([amounts[n] for n in units], dtype=float)
    design = np.stack([np.ones_like(needed), np.array(units, dtype=float)], axis=1) / needed[:, None]
    (floor, each), *_ = np.linalg.lstsq(design, np.ones_like(needed), rcond=None)
    most = float(needed[0])
    if bounded and not 0 <= floor <= most:
        floor = min(max(float(floor), 0.0), most)
        # The slope of the nearest line that begins at this floor.
        slopes = design[:, 1]
        each = float(slopes @ (1 - floor * design[:, 0]) / (slopes @ slopes))
    deviations = design @ (floor, each) - 1
    half: list[float] | None = None
    if freedom := len(units) - 2:
        inverse = np.linalg.inv(design.T @ design)
        covariance = inverse * float(deviations @ deviations) / freedom
        width = _T[freedom - 1] if freedom <= len(_T) else _NORMAL
        # All errors in the direction that moves the line most.
        known = np.array([(errors or {}).get(n, 0.0) for n in units]) / needed
        moved = np.abs(inverse @ design.T) @ known
        half = [width * float(covariance[i, i]) ** 0.5 + float(moved[i]) for i in (0, 1)]
    worst = int(np.abs(deviations).argmax())
    least = 0.0 if bounded else -np.inf
    return Line(
        floor=float(floor),
        floor_low=None if half is None else max(least, float(floor) - half[0]),
        floor_high=None if half is None else float(floor) + half[0],
        each=float(each),
        each_low=None if half is None else max(least, float(each) - half[1]),
        each_high=None if half is None else float(each) + half[1],
        units=tuple(units),
        worst=float(abs(deviations[worst])),
        worst_units=units[worst],
    )
