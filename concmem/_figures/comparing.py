"""Compare a figure, which has a range, with a limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from concmem.errors import InvalidType, Undecided
from concmem.units import format_bytes, parse_bytes

if TYPE_CHECKING:
    from concmem.parts import Figure, Limit, Verdict

__all__ = ["is_larger", "limit_range", "verdict"]


def limit_range(limit: Limit) -> tuple[float, float]:
    """
    Return the smallest and the largest amount that a limit can be: the same, unless it is a figure.

    Raises:
        InvalidRequest: It is not an amount.
    """
    if isinstance(limit, str):
        limit = parse_bytes(limit)
    if isinstance(limit, (int, float)) and not isinstance(limit, bool) and not math.isnan(limit):
        return limit, limit
    try:
        low, high = limit.low_bytes, limit.high_bytes  # type: ignore[union-attr]
    except AttributeError:
        raise InvalidType(f"a limit must be bytes, a text such as '200 MB' or a figure, not {limit!r}") from None
    return (0.0 if low is None else low), (math.inf if high is None else high)


def verdict(figure: Figure, least: float, most: float) -> Verdict:
    """Return whether the true amount is above a limit in the range from `least` to `most`, at most that, or either."""
    if figure.low_bytes is not None and figure.low_bytes > most:
        return "over"
    if figure.high_bytes is not None and figure.high_bytes <= least:
        return "under"
    return "undecided"


def is_larger(figure: Figure, limit: Limit, *, or_equal: bool = False) -> bool:
    """
    Return whether the true amount is larger than a limit; with `or_equal`, whether it is at least the limit.

    Raises:
        Undecided: The range of the figure contains the limit.
        InvalidRequest: The limit is not an amount.
    """
    least, most = limit_range(limit)
    low, high = figure.low_bytes, figure.high_bytes
    if low is not None and (low >= most if or_equal else low > most):
        return True
    if high is not None and (high < least if or_equal else high <= least):
        return False
    shown = limit if isinstance(limit, str) else format_bytes(least) if least == most else str(limit)
    if low is None:
        raise Undecided(f"the figure cannot be compared with {shown}: it is {figure}")
    upper = "no upper end is known" if high is None else f"at most {format_bytes(high)}"
    known = f"the figure is at least {format_bytes(low)}, and {upper}"
    raise Undecided(f"it is undecided which is larger, the figure or {shown}: {known}; see Figure.compare")
