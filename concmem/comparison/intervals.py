"""
Intervals for the median of several runs and for the ratio of two medians, each with its true confidence.

All functions are deterministic: the same runs give the same intervals. An interval contains the error of each run's
figure: its low end is computed from the low ends of the figures, its high end from their high ends.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from concmem.parts import Figure

__all__ = ["CONFIDENCE", "MOST_EXACT", "Interval", "Sample", "median_interval", "p_value", "ratio_interval"]

CONFIDENCE = 0.95
"""The confidence that an interval has at least, if there are enough runs."""
MOST_EXACT = 25
"""With more runs on both sides, the interval of a ratio comes from a bootstrap."""

_RESAMPLES = 4_000


@attrs.frozen
class Interval:
    """
    The ends between which the true value lies, and in which share of all cases it does.

    Attributes:
        low, high: The ends.
        confidence: The share of such intervals that hold the true value, at least. It is below `CONFIDENCE` with few
            runs: 0.75 for the median of three.
    """

    low: float
    high: float
    confidence: float

    def holds(self, value: float) -> bool:
        """Return whether a value lies between the ends, or on one."""
        return self.low <= value <= self.high


@attrs.frozen
class Sample:
    """
    One value of each run, and the ends between which each true value lies.

    Attributes:
        values: The values, in any unit.
        lows, highs: The ends, in the same order.
    """

    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]

    @classmethod
    def exact(cls, values: Iterable[float]) -> Sample:
        """Return a sample of values without an error."""
        same = tuple(values)
        return cls(same, same, same)

    @classmethod
    def of_figures(cls, figures: Iterable[Figure]) -> Sample:
        """
        Return a sample of the amounts of figures.

        The error of an "or more" and of an "or less" is unknown: it counts as it was read.
        """
        known = [(float(figure.bytes), figure) for figure in figures if figure.bytes is not None]
        return cls(
            tuple(amount for amount, _ in known),
            tuple(max(0.0, amount - figure.over_bytes) for amount, figure in known),
            tuple(amount + figure.error_bytes for amount, figure in known),
        )

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    def __len__(self) -> int:
        return len(self.values)


def median_interval(sample: Sample) -> Interval | None:
    """
    Return the interval that holds the median of many runs: two order statistics, of the narrowest pair that is enough.

    The confidence is exact for any distribution: the true median is below the k-th smallest of n values only if fewer
    than k of them are below it, and that number is binomial. Below six runs the interval is the whole range.

    Returns:
        The interval, or None with fewer than two runs.
    """
    count = len(sample)
    if count < 2:
        return None
    skipped = max(_enough(count), 0)
    lows, highs = sorted(sample.lows), sorted(sample.highs)
    return Interval(lows[skipped], highs[count - 1 - skipped], 1 - 2 * _tail(count, skipped))


@functools.lru_cache(maxsize=1024)
def _enough(count: int) -> int:
    """Return how many values can be left out at each end of the sorted ones; -1 if even the range is not enough."""
    skipped = -1
    while 2 * _tail(count, skipped + 1) <= 1 - CONFIDENCE:
        skipped += 1
    return skipped


def _tail(count: int, most: int) -> float:
    """Return the probability of at most `most` heads in `count` tosses of a coin."""
    return sum(math.comb(count, heads) for heads in range(most + 1)) / (1 << count)


def ratio_interval(over: Sample, under: Sample) -> Interval | None:
    """
    Return the interval that holds the ratio of two medians.

    With at most `MOST_EXACT` runs on either side it is the set of all ratios that the exact permutation test of rank
    sums does not refute. This assumes that the two distributions differ by a factor, and nothing else. Its confidence
    is that of the test: three runs against three cannot refute a ratio with less than p = 0.10, so it is 0.90. With
    more runs on both sides it is a percentile bootstrap, each side resampled separately.

    Args:
        over: The dividend: all values above 0.
        under: The divisor, likewise; the numbers of runs may differ.

    Returns:
        The interval, or None with fewer than two runs on either side.
    """
    if len(over) < 2 or len(under) < 2:
        return None
    if min(len(over), len(under)) > MOST_EXACT:
        return _bootstrap(over, under)
    skipped, confidence = _ranks(len(over), len(under))
    pairs = len(over) * len(under)
    lows = sorted(_divided(a, b) for a in over.lows for b in under.highs)
    highs = sorted(_divided(a, b) for a in over.highs for b in under.lows)
    return Interval(lows[skipped], highs[pairs - 1 - skipped], confidence)


def _divided(a: float, b: float) -> float:
    return a / b if b > 0 else math.inf


@functools.lru_cache(maxsize=1024)
def _ranks(one: int, other: int) -> tuple[int, float]:
    """Return how many of the sorted ratios of pairs can be left out at each end, and the confidence of the rest."""
    ways = _ways(one, other, one * other // 2)
    total = math.comb(one + other, one)
    skipped, below = 0, ways[0]
    while skipped + 1 < len(ways) and 2 * (below + ways[skipped + 1]) <= (1 - CONFIDENCE) * total:
        skipped += 1
        below += ways[skipped]
    return skipped, 1 - 2 * below / total


def _ways(one: int, other: int, most: int) -> list[int]:
    """
    Return in how many orders of two samples 0, 1, ... `most` pairs have the value of the second before the first one's.

    These are the coefficients of the Gaussian binomial, the product of (1 - q^(large + i)) / (1 - q^i).
    """
    small, large = sorted((one, other))
    ways = [1] + [0] * most
    for i in range(1, small + 1):
        for at in range(most, large + i - 1, -1):
            ways[at] -= ways[at - large - i]
        for at in range(i, most + 1):
            ways[at] += ways[at - i]
    return ways


def _rank_sums(doubled: Sequence[int], size: int) -> dict[int, int]:
    """Return how many subsets of `size` ranks have each sum; ranks and sums are doubled, so that ties are whole."""
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in range(size))]
    for rank in doubled:
        for chosen in range(size, 0, -1):
            for before, count in ways[chosen - 1].items():
                ways[chosen][before + rank] = ways[chosen].get(before + rank, 0) + count
    return ways[size]


def p_value(one: Sequence[float], other: Sequence[float]) -> float:
    """
    Return the two-sided p-value of the exact permutation test of rank sums: that two samples have one distribution.

    Equal values share the mean of their ranks. The smallest possible value with three against three is 0.1.

    Args:
        one: The values of the runs of one side, at least one; with more than `MOST_EXACT` on both sides it takes long.
        other: Those of the other side, likewise.
    """
    pooled = sorted([*one, *other])
    doubled = {value: 2 * pooled.index(value) + 1 + pooled.count(value) for value in pooled}
    ways = _rank_sums([doubled[value] for value in pooled], len(one))
    seen = sum(doubled[value] for value in one)
    total = sum(ways.values())
    at_most = sum(count for rank_sum, count in ways.items() if rank_sum <= seen)
    at_least = sum(count for rank_sum, count in ways.items() if rank_sum >= seen)
    return min(1.0, 2 * min(at_most, at_least) / total)


def _bootstrap(over: Sample, under: Sample) -> Interval:
    import numpy as np

    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(side), size=(_RESAMPLES, len(side))) for side in (over, under)]
    with np.errstate(divide="ignore"):  # a low end may be 0
        low = _medians(over.lows, drawn[0]) / _medians(under.highs, drawn[1])
        high = _medians(over.highs, drawn[0]) / _medians(under.lows, drawn[1])
    tail = 50 * (1 - CONFIDENCE)
    ends = np.percentile(low, tail, method="lower"), np.percentile(high, 100 - tail, method="higher")
    return Interval(float(ends[0]), float(ends[1]), CONFIDENCE)


def _medians(values: Sequence[float], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the medians of the samples that consist of the values with the numbers `drawn`."""
    import numpy as np

    medians: NDArray[np.float64] = np.median(np.asarray(values, dtype=float)[drawn], axis=1)
    return medians
